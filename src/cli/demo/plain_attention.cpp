// SPDX-License-Identifier: Apache-2.0
// Both products are one function, c = a b with b packed in panels of 16 columns. It is compiled once per instruction
// set by inlining into functions with a target attribute, so the rest of the program stays at the baseline.
#include "cli/demo/plain_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/math.h"
#include "contract/dtype.h"
#include "contract/mask.h"

namespace fovea::cli {
namespace {

constexpr int kPanel = 16;
using Floats __attribute__((vector_size(kPanel * sizeof(float)))) = float;

/// c (rows, kPanel columns of n) = a (rows, depth) * panel (depth, kPanel).
template <int kRows>
[[gnu::always_inline]] inline void multiply_tile(const float* a, Int64 a_stride, const float* panel, int depth,
                                                 float* c, Int64 c_stride, int columns) {
  Floats sum[kRows] = {};
  for (int d = 0; d < depth; ++d) {
    Floats b;
    std::memcpy(&b, panel + static_cast<Int64>(d) * kPanel, sizeof b);
    for (int r = 0; r < kRows; ++r) sum[r] += a[r * a_stride + d] * b;
  }
  for (int r = 0; r < kRows; ++r) {
    std::memcpy(c + r * c_stride, &sum[r], sizeof(float) * static_cast<std::size_t>(columns));
  }
}

struct Product {
  const float* a;
  Int64 a_stride;
  const float* panels;  // of b
  float* c;
  Int64 c_stride;
  int m, n, k;
};

template <int kRows>
[[gnu::always_inline]] inline void multiply(const Product& p) {
  for (int column = 0; column < p.n; column += kPanel) {
    const float* panel = p.panels + static_cast<Int64>(column) * p.k;
    const int columns = min_of(kPanel, p.n - column);
    int row = 0;
    for (; row + kRows <= p.m; row += kRows) {
      multiply_tile<kRows>(p.a + row * p.a_stride, p.a_stride, panel, p.k, p.c + row * p.c_stride + column, p.c_stride,
                           columns);
    }
    for (; row < p.m; ++row) {
      multiply_tile<1>(p.a + row * p.a_stride, p.a_stride, panel, p.k, p.c + row * p.c_stride + column, p.c_stride,
                       columns);
    }
  }
}

/// exp for x <= 0 in 12 operations that compilers vectorise: 2^n by exponent bits, 2^f by a polynomial.
[[gnu::always_inline]] inline float exp_of(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the integer nearest to t in the low bits
  const float t = std::max(x, -87.0f) * kLog2E;
  const float n = (t + kRound) - kRound;
  const float f = (t - n) * kLn2;
  const float two_to_n = std::bit_cast<float>((static_cast<int>(n) + 127) << 23);
  return two_to_n * (1 + f * (1 + f * (0.5f + f * (0.16666667f + f * (0.041666668f + f * 0.008333334f)))));
}

/// scores become weights that are not yet divided by their sum, which is returned.
[[gnu::always_inline]] inline float soften(float* scores, int seqlen_k, KeyInterval keys, float scale, float softcap) {
  if (softcap > 0) {
    for (int j = keys.begin; j < keys.end; ++j) scores[j] = softcap * std::tanh(scores[j] * scale / softcap) / scale;
  }
  float highest = -INFINITY, sum = 0;
  for (int j = keys.begin; j < keys.end; ++j) highest = std::max(highest, scores[j]);
  for (int j = keys.begin; j < keys.end; ++j) scores[j] = exp_of((scores[j] - highest) * scale);
  for (int j = keys.begin; j < keys.end; ++j) sum += scores[j];
  std::fill(scores, scores + std::min(keys.begin, seqlen_k), 0.0f);
  std::fill(scores + std::max(keys.end, 0), scores + seqlen_k, 0.0f);
  return sum;
}

void multiply_baseline(const Product& p) { multiply<1>(p); }
float soften_baseline(float* s, int n, KeyInterval keys, float scale, float cap) {
  return soften(s, n, keys, scale, cap);
}
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void multiply_avx2(const Product& p) { multiply<4>(p); }
[[gnu::target("avx512f")]] void multiply_avx512(const Product& p) { multiply<8>(p); }
[[gnu::target("avx2,fma")]] float soften_avx2(float* s, int n, KeyInterval keys, float scale, float cap) {
  return soften(s, n, keys, scale, cap);
}
#endif

struct Unit {
  const char* isa;
  void (*multiply)(const Product&);
  float (*soften)(float*, int, KeyInterval, float, float);
};

Unit unit_of_this_machine() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {"avx512", multiply_avx512, soften_avx2};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {"avx2", multiply_avx2, soften_avx2};
#endif
  return {"baseline", multiply_baseline, soften_baseline};
}

float element(const void* data, DType dtype, Int64 at) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[at];
  return dtype == DType::kBF16 ? bf16_to_float(bits) : fp16_to_float(bits);
}

/// panels[column / 16][k][column % 16]: k^T for the scores (columns are keys), v for the output (columns are head_dim).
void pack_keys(const AttentionArgs& args, DType dtype, Int64 first, int seqlen_k, std::vector<float>& panels) {
  const int depth = args.head_dim_qk;
  panels.assign(static_cast<std::size_t>(round_up(seqlen_k, kPanel)) * depth, 0.0f);
  for (Int64 j = 0; j < seqlen_k; ++j) {
    for (int d = 0; d < depth; ++d) {
      panels[static_cast<std::size_t>((j / kPanel * depth + d) * kPanel + j % kPanel)] =
          element(args.kv.k, dtype, first + j * args.kv.k_stride_row + d);
    }
  }
}

void pack_values(const AttentionArgs& args, DType dtype, Int64 first, int seqlen_k, std::vector<float>& panels) {
  panels.assign(static_cast<std::size_t>(round_up(args.head_dim_v, kPanel)) * seqlen_k, 0.0f);
  for (Int64 j = 0; j < seqlen_k; ++j) {
    for (Int64 d = 0; d < args.head_dim_v; ++d) {
      panels[static_cast<std::size_t>((d / kPanel * seqlen_k + j) * kPanel + d % kPanel)] =
          element(args.kv.v, dtype, first + j * args.kv.v_stride_row + d);
    }
  }
}

}  // namespace

const char* plain_attention_isa() { return unit_of_this_machine().isa; }

void plain_attention_head(const AttentionArgs& args, DType dtype, int batch, int head, PlainScratch& scratch) {
  const Unit unit = unit_of_this_machine();
  const SequenceShape s = sequence_shape(args.query, args.kv, batch);
  const int kv_head = head / (args.num_heads_q / args.num_heads_kv);
  const Int64 q_first = batch * args.query.stride_batch + head * args.query.stride_head;
  scratch.queries.resize(static_cast<std::size_t>(s.seqlen_q) * args.head_dim_qk);
  for (Int64 i = 0; i < s.seqlen_q; ++i) {
    for (int d = 0; d < args.head_dim_qk; ++d) {
      scratch.queries[static_cast<std::size_t>(i * args.head_dim_qk + d)] =
          element(args.query.q, dtype, q_first + i * args.query.stride_row + d);
    }
  }
  pack_keys(args, dtype, batch * args.kv.k_stride_batch + kv_head * args.kv.k_stride_head, s.seqlen_k, scratch.keys);
  pack_values(args, dtype, batch * args.kv.v_stride_batch + kv_head * args.kv.v_stride_head, s.seqlen_k,
              scratch.values);
  scratch.scores.resize(static_cast<std::size_t>(s.seqlen_q) * s.seqlen_k);
  scratch.output.resize(static_cast<std::size_t>(s.seqlen_q) * args.head_dim_v);

  unit.multiply({scratch.queries.data(), args.head_dim_qk, scratch.keys.data(), scratch.scores.data(), s.seqlen_k,
                 s.seqlen_q, s.seqlen_k, args.head_dim_qk});
  std::vector<float> sums(static_cast<std::size_t>(s.seqlen_q));
  const SequenceMask mask = sequence_mask(args.mask, s.seqlen_q, s.seqlen_k);
  for (int i = 0; i < s.seqlen_q; ++i) {
    sums[static_cast<std::size_t>(i)] =
        unit.soften(scratch.scores.data() + static_cast<Int64>(i) * s.seqlen_k, s.seqlen_k,
                    visible_keys(args.mask.kind, mask, i), args.softmax_scale, args.softcap);
  }
  unit.multiply({scratch.scores.data(), s.seqlen_k, scratch.values.data(), scratch.output.data(), args.head_dim_v,
                 s.seqlen_q, args.head_dim_v, s.seqlen_k});
  for (int i = 0; i < s.seqlen_q; ++i) {
    const float sum = sums[static_cast<std::size_t>(i)];
    for (int d = 0; d < args.head_dim_v; ++d) {
      scratch.output[static_cast<std::size_t>(static_cast<Int64>(i) * args.head_dim_v + d)] *= sum > 0 ? 1 / sum : 0.0f;
    }
  }
}

}  // namespace fovea::cli
