// SPDX-License-Identifier: Apache-2.0
#include "attention/catalogue.h"

namespace fovea {
namespace {

AttentionProblem problem_of(DType dtype, int head_dim, MaskKind mask) {
  AttentionProblem p;
  p.device = {DeviceKind::kCUDA, 0};
  p.dtype = dtype;
  p.batch = 4;
  p.seqlen_q = p.seqlen_k = 4096;
  p.total_q = p.total_k = 4 * 4096;
  p.num_heads_q = 32;
  p.num_heads_kv = 8;
  p.head_dim_qk = p.head_dim_v = head_dim;
  p.mask.kind = mask;
  if (mask == MaskKind::kCausal) p.mask.window_right = 0;
  if (mask == MaskKind::kWindow) p.mask.window_left = 1024, p.mask.window_right = 0;
  return p;
}

/// One query row over a long past: the keys are split.
AttentionProblem decode_of(DType dtype, int head_dim) {
  AttentionProblem p = problem_of(dtype, head_dim, MaskKind::kCausal);
  p.batch = 1;
  p.seqlen_q = 1;
  p.seqlen_k = 32768;
  p.total_q = 1;
  p.total_k = 32768;
  return p;
}

/// The same over a short past, and a block of rows over a long one: few tiles, split keys.
void add_few_tiles(std::vector<AttentionProblem>& all, DType dtype, int head_dim) {
  AttentionProblem p = decode_of(dtype, head_dim);
  p.seqlen_k = 4096;
  p.total_k = 4096;
  all.push_back(p);
  if (head_dim != 128) return;
  p = decode_of(dtype, head_dim);
  p.seqlen_q = 256;
  p.total_q = 256;
  all.push_back(p);
}

void add_options(std::vector<AttentionProblem>& all, DType dtype) {
  AttentionProblem p = problem_of(dtype, 128, MaskKind::kCausal);
  p.wants_lse = true;
  all.push_back(p);
  p.softcap = 30.0f;
  all.push_back(p);
  p = problem_of(dtype, 128, MaskKind::kCausal);
  p.has_seq_lens_q = p.has_seq_lens_k = true;
  all.push_back(p);
  p = problem_of(dtype, 128, MaskKind::kCausal);
  p.is_packed_q = true;
  p.kv_layout = KeyValueLayout::kPacked;
  all.push_back(p);
}

}  // namespace

std::vector<AttentionProblem> attention_catalogue() {
  std::vector<AttentionProblem> all;
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const int head_dim : {64, 128, 256}) {
      for (const MaskKind mask : {MaskKind::kNone, MaskKind::kCausal}) all.push_back(problem_of(dtype, head_dim, mask));
      all.push_back(decode_of(dtype, head_dim));
      if (dtype != DType::kF32) add_few_tiles(all, dtype, head_dim);
    }
    all.push_back(problem_of(dtype, 128, MaskKind::kWindow));
    add_options(all, dtype);
  }
  // Paddings and unequal head dimensions: one dtype is enough, the tiles are those of the others.
  for (const int head_dim : {32, 80, 96, 192}) all.push_back(problem_of(DType::kF16, head_dim, MaskKind::kCausal));
  AttentionProblem unequal = problem_of(DType::kF16, 192, MaskKind::kCausal);
  unequal.head_dim_v = 128;
  all.push_back(unequal);
  return all;
}

}  // namespace fovea
