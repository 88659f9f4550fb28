// SPDX-License-Identifier: Apache-2.0
#include "reference/attention.h"

#include <cmath>
#include <limits>

namespace fovea {
namespace {

/// Where one row's query, keys and values lie.
struct RowPlace {
  bool has_keys;
  KeyInterval keys;
  Int64 q, k, v;  // element offsets of the query row, key 0 and value 0
};

RowPlace place_of(const AttentionArgs& args, int batch, int head, int row) {
  const SequenceShape s = sequence_shape(args.query, args.kv, batch);
  const int head_kv = head / (args.num_heads_q / args.num_heads_kv);
  RowPlace place = {};
  if (row < s.seqlen_q) {
    place.keys = visible_keys(args.mask.kind, sequence_mask(args.mask, s.seqlen_q, s.seqlen_k), row);
    place.has_keys = !place.keys.empty();
  }
  const bool packed = args.query.cu_seqlens != nullptr;
  const auto base = [&](Int64 stride_batch) { return packed ? 0 : batch * stride_batch; };
  place.q = base(args.query.stride_batch) + (s.q_first + row) * args.query.stride_row + head * args.query.stride_head;
  place.k = base(args.kv.k_stride_batch) + s.k_first * args.kv.k_stride_row + head_kv * args.kv.k_stride_head;
  place.v = base(args.kv.v_stride_batch) + s.k_first * args.kv.v_stride_row + head_kv * args.kv.v_stride_head;
  return place;
}

/// Scores of the visible keys in arithmetic of type Real.
template <typename Real>
std::vector<Real> scores_of(const AttentionArgs& args, DType dtype, const RowPlace& place) {
  std::vector<Real> scores;
  scores.reserve(static_cast<std::size_t>(place.keys.size()));
  const auto scale = static_cast<Real>(args.softmax_scale);
  const auto cap = static_cast<Real>(args.softcap);
  for (int j = place.keys.begin; j < place.keys.end; ++j) {
    Real dot = 0;
    for (int c = 0; c < args.head_dim_qk; ++c) {
      dot += static_cast<Real>(load_element(args.query.q, dtype, place.q + c)) *
             static_cast<Real>(load_element(args.kv.k, dtype, place.k + j * args.kv.k_stride_row + c));
    }
    const Real scaled = dot * scale;
    scores.push_back(args.softcap > 0.0f ? cap * std::tanh(scaled / cap) : scaled);
  }
  return scores;
}

ReferenceRow row_without_keys(const AttentionArgs& args) {
  return {std::vector<double>(static_cast<std::size_t>(args.head_dim_v), 0.0),
          -std::numeric_limits<double>::infinity()};
}

/// Probabilities are divided by the sum before they meet the values, as the textbook has it. `round` is applied to
/// each. Visible scores that are all -inf, or any that is +inf or NaN, give NaN, as exp(s - max) does.
template <typename Real, typename Round>
ReferenceRow softmax_times_values(const AttentionArgs& args, DType dtype, const RowPlace& place,
                                  const std::vector<Real>& scores, Round round) {
  Real largest = -std::numeric_limits<Real>::infinity();
  for (Real s : scores) largest = s > largest || std::isnan(s) ? s : largest;
  Real sum = 0;
  std::vector<Real> probability(scores.size());
  for (std::size_t j = 0; j < scores.size(); ++j) sum += probability[j] = std::exp(scores[j] - largest);
  std::vector<Real> o(static_cast<std::size_t>(args.head_dim_v), Real(0));
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const auto p = static_cast<Real>(round(probability[j] / sum));
    const Int64 row = place.v + (place.keys.begin + static_cast<Int64>(j)) * args.kv.v_stride_row;
    for (int c = 0; c < args.head_dim_v; ++c) {
      o[static_cast<std::size_t>(c)] += p * static_cast<Real>(load_element(args.kv.v, dtype, row + c));
    }
  }
  return {std::vector<double>(o.begin(), o.end()), static_cast<double>(largest + std::log(sum))};
}

}  // namespace

ReferenceRow reference_attention_row(const AttentionArgs& args, DType dtype, int batch, int head, int row) {
  const RowPlace place = place_of(args, batch, head, row);
  if (!place.has_keys) return row_without_keys(args);
  return softmax_times_values(args, dtype, place, scores_of<double>(args, dtype, place), [](double p) { return p; });
}

ReferenceRow plain_attention_row(const AttentionArgs& args, DType dtype, int batch, int head, int row) {
  const RowPlace place = place_of(args, batch, head, row);
  if (!place.has_keys) return row_without_keys(args);
  ReferenceRow result = softmax_times_values(args, dtype, place, scores_of<float>(args, dtype, place),
                                             [dtype](float p) { return round_to(dtype, p); });
  for (double& x : result.o) x = round_to(dtype, x);
  return result;
}

}  // namespace fovea
