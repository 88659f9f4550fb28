// SPDX-License-Identifier: Apache-2.0
#include "problem/attention_problem.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "contract/dtype.h"

namespace fovea {
namespace {

std::string side_text(int window) { return window == kWindowOpen ? "open" : fmt::format("{}", window); }

std::string mask_text(const MaskRule& mask) {
  std::string text;
  switch (mask.kind) {
    case MaskKind::kNone: return "";
    case MaskKind::kCausal: text = " causal"; break;
    case MaskKind::kWindow:
      text = fmt::format(" window={},{}", side_text(mask.window_left), side_text(mask.window_right));
      break;
  }
  return mask.alignment == MaskAlignment::kTopLeft ? text + " top-left" : text;
}

/// Visible (row, key) pairs of one sequence. Rows beyond a few thousand are sampled in equal steps: the intervals are
/// piecewise linear in the row, so the trapezoid over 4096 steps is exact to a few parts per million.
double visible_pairs(const MaskRule& rule, int seqlen_q, int seqlen_k) {
  if (seqlen_q == 0 || seqlen_k == 0) return 0.0;
  const SequenceMask mask = sequence_mask(rule, seqlen_q, seqlen_k);
  constexpr int kExactRows = 1 << 16;
  const int step = std::max(1, seqlen_q / kExactRows);
  double pairs = 0.0;
  for (int q = 0; q < seqlen_q; q += step) {
    const int rows = std::min(step, seqlen_q - q);
    const int first = visible_keys(rule.kind, mask, q).size();
    const int last = visible_keys(rule.kind, mask, q + rows - 1).size();
    pairs += 0.5 * (first + last) * rows;
  }
  return pairs;
}

}  // namespace

std::string to_string(const AttentionProblem& p) {
  std::string text = fmt::format("{} {} b={} sq={} sk={}", p.direction == Direction::kForward ? "forward" : "backward",
                                 name_of(p.dtype), p.batch, p.seqlen_q, p.seqlen_k);
  text += p.num_heads_q == p.num_heads_kv ? fmt::format(" h={}", p.num_heads_q)
                                          : fmt::format(" h={}/{}", p.num_heads_q, p.num_heads_kv);
  text += p.head_dim_qk == p.head_dim_v ? fmt::format(" d={}", p.head_dim_qk)
                                        : fmt::format(" d={}/{}", p.head_dim_qk, p.head_dim_v);
  text += mask_text(p.mask);
  if (p.softcap > 0.0f) text += fmt::format(" softcap={}", p.softcap);
  if (p.is_packed_q) text += fmt::format(" packed total={}/{}", p.total_q, p.total_k);
  if (p.kv_layout == KeyValueLayout::kPaged) text += fmt::format(" paged={}", p.page_size);
  if (p.has_seq_lens_q) text += " seq_lens_q";
  if (p.has_seq_lens_k) text += " seq_lens_k";
  if (p.wants_lse) text += " lse";
  if (p.math == Math::kFast) text += " fast";
  return text;
}

std::uint64_t hash_of(const AttentionProblem& p) {
  Hasher h;
  h.add(p.device.kind).add(p.device.index).add(p.direction).add(p.dtype).add(p.math);
  h.add(p.batch).add(p.seqlen_q).add(p.seqlen_k).add(p.total_q).add(p.total_k);
  h.add(p.num_heads_q).add(p.num_heads_kv).add(p.head_dim_qk).add(p.head_dim_v);
  h.add(p.mask.kind).add(p.mask.alignment).add(p.mask.window_left).add(p.mask.window_right);
  h.add(p.softmax_scale).add(p.softcap).add(p.kv_layout).add(p.is_packed_q);
  h.add(p.has_seq_lens_q).add(p.has_seq_lens_k).add(p.page_size).add(p.wants_lse).add(p.deterministic);
  return h.add(p.alignment_bytes).value();
}

double attention_flops(const AttentionProblem& p) {
  double pairs = p.batch * visible_pairs(p.mask, p.seqlen_q, p.seqlen_k);
  const double rows = static_cast<double>(p.batch) * p.seqlen_q;
  // Packed sequences differ in length: scale by the rows that exist, as if all had the mean share of keys.
  if (p.is_packed_q && rows > 0) pairs *= static_cast<double>(p.total_q) / rows;
  return 2.0 * (p.head_dim_qk + p.head_dim_v) * pairs * p.num_heads_q;
}

}  // namespace fovea
