// SPDX-License-Identifier: Apache-2.0
// What is asked of attention: all that decides correctness and speed, nothing that moves. CPU, GPU, reference, plan
// cache, bench, tests and explain take this same struct.
#pragma once

#include <cstdint>
#include <string>

#include "contract/mask.h"
#include "fovea/types.h"

namespace fovea {

enum class Direction : unsigned char { kForward, kBackward };

struct AttentionProblem {
  Device device;
  Direction direction = Direction::kForward;
  DType dtype = DType::kF32;
  Math math = Math::kExact;
  int batch = 0;
  int seqlen_q = 0;  // of the longest sequence
  int seqlen_k = 0;
  std::int64_t total_q = 0;  // rows of the packed tensors; batch * seqlen otherwise
  std::int64_t total_k = 0;
  int num_heads_q = 0;
  int num_heads_kv = 0;
  int head_dim_qk = 0;
  int head_dim_v = 0;
  MaskRule mask;
  float softmax_scale = 1.0f;
  float softcap = 0.0f;
  KeyValueLayout kv_layout = KeyValueLayout::kDense;
  bool is_packed_q = false;
  bool has_seq_lens_q = false;
  bool has_seq_lens_k = false;
  int page_size = 0;
  bool wants_lse = false;
  bool deterministic = true;
  /// The largest power of two up to 16 that divides every address and every row, head and batch stride, in bytes.
  int alignment_bytes = 16;

  friend bool operator==(const AttentionProblem&, const AttentionProblem&) = default;
};

/// One line: "forward bf16 b=1 sq=4096 sk=4096 h=32/8 d=128 causal lse".
std::string to_string(const AttentionProblem& problem);
std::uint64_t hash_of(const AttentionProblem& problem);

/// Floating-point operations on visible scores: 2 * (head_dim_qk + head_dim_v) per visible (row, key) and head.
/// For lengths that only the device knows, every sequence counts as the longest; packed ones by the rows that exist.
double attention_flops(const AttentionProblem& problem);

}  // namespace fovea
