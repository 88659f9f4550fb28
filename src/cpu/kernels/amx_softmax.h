// SPDX-License-Identifier: Apache-2.0
// Online softmax of a block of scores: rows are queries, lanes are keys. A row keeps its stabiliser (the largest
// visible score when it was set) until a score exceeds it by kSlack, in powers of two; only then are the horizontal
// maximum and the rescaling of its sums done. The result is the same softmax: p and the sum share the stabiliser, and p
// up to 2^8 is as exact in bf16 parts as p <= 1.
#pragma once

#include <immintrin.h>

#include "contract/dtype.h"
#include "cpu/kernels/amx_pack.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {

inline constexpr int kBlockRows = 32;  // two tiles of queries
inline constexpr int kStepKeys = 128;  // scores of 32 rows: 16 KiB, so that they stay in the L1 cache beside p
inline constexpr int kStepVectors = kStepKeys / 16;
inline constexpr int kScoreStride = kStepKeys + 16;  // not a power of two, or a tile's 16 rows share 8 cache sets: 3 %
inline constexpr float kSlack = 8.0f;

/// What a block of rows remembers between steps, besides o.
struct alignas(64) RowSums {
  float sum[kBlockRows][16];     // of p, per lane
  float stabiliser[kBlockRows];  // in units of the scores; -inf before the first visible key
  float limit[kBlockRows];       // a score above it moves the stabiliser
  float rescale[kBlockRows];     // what o must be multiplied with before this step's values are added
  bool any_rescale;
};

FOVEA_WORD void clear(RowSums* sums) {
  __builtin_memset(sums->sum, 0, sizeof(sums->sum));
  for (int r = 0; r < kBlockRows; ++r) {
    sums->stabiliser[r] = sums->limit[r] = -kInfinity;
    sums->rescale[r] = 1.0f;
  }
  sums->any_rescale = false;
}

/// p = 2^(scale_log2 * (score - stabiliser)).
struct ScoreScale {
  float scale_log2;
  float slack;  // kSlack in units of the scores
};

/// The p of one step as first operands: tiles (part, 32 keys, half of the block).
inline constexpr int kProbabilityPartBytes = kBlockRows * kStepKeys * 2;
FOVEA_WORD char* probability_at(char* p, int part, int row, int pair_of_vectors) {
  return p + part * kProbabilityPartBytes + pair_of_vectors * 2 * kTileBytes + row * kTileRowBytes;
}

/// 2^x as exactly as its use needs: relative error 7.5e-5 for p in one bf16 part, 2.7e-6 in two, 0.6 ulp in three and
/// where the sum of p is an output (lse).
template <int parts, bool wants_lse>
FOVEA_WORD __m512 exp2_for(__m512 x) {
  constexpr int kDegree = wants_lse ? 6 : parts == 1 ? 3 : parts == 2 ? 4 : 6;
  constexpr const float* kCoefficients = kDegree == 3 ? kExp2Floor3 : kDegree == 4 ? kExp2Floor4 : kExp2Floor6;
  const __m512 r = _mm512_reduce_ps(x, 0x09);  // x - floor(x)
  __m512 p = _mm512_set1_ps(kCoefficients[kDegree]);
  FOVEA_UNROLL
  for (int i = kDegree - 1; i >= 0; --i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kCoefficients[i]));
  return _mm512_scalef_ps(p, x);
}

using namespace avx512;
#include "cpu/kernels/tanh.inc"

/// One row of scores to tanh(factor * score).
FOVEA_WORD void cap_scores(float* scores, int begin, int end, float factor) {
  for (int i = begin; i < end; i += 16) {
    _mm512_store_ps(scores + i, tanh(_mm512_mul_ps(_mm512_load_ps(scores + i), _mm512_set1_ps(factor))));
  }
}

/// Cut to bf16, exact in float.
FOVEA_WORD __m512 truncate_to_bf16(__m512 x) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

/// 32 probabilities of a row into their parts. Parts before the last are cut, which is exact and cheaper than rounding.
template <int parts>
FOVEA_WORD void store_probabilities(char* p, int row, int pair, __m512 low, __m512 high) {
  FOVEA_UNROLL
  for (int i = 0; i < parts - 1; ++i) {
    const __m512 low_cut = truncate_to_bf16(low), high_cut = truncate_to_bf16(high);
    _mm512_store_si512(probability_at(p, i, row, pair), to_bf16(low_cut, high_cut));
    low = _mm512_sub_ps(low, low_cut);
    high = _mm512_sub_ps(high, high_cut);
  }
  _mm512_store_si512(probability_at(p, parts - 1, row, pair), to_bf16(low, high));
}

/// A score above the limit came: the row's largest becomes its stabiliser.
__attribute__((noinline, unused)) static void move_stabiliser(RowSums* sums, int row, __m512 largest,
                                                              const ScoreScale& scale) {
  const float before = sums->stabiliser[row];
  const float now = _mm512_reduce_max_ps(largest);
  const __m512 factor = exp2_for<3, true>(_mm512_set1_ps((before - now) * scale.scale_log2));
  // Before the first key the sums are 0 and stay so; (-inf - now) * 0 would be NaN.
  const __m512 rescale = before == -kInfinity ? _mm512_setzero_ps() : factor;
  _mm512_store_ps(sums->sum[row], _mm512_mul_ps(_mm512_load_ps(sums->sum[row]), rescale));
  sums->rescale[row] *= _mm512_cvtss_f32(rescale);
  sums->any_rescale = true;
  sums->stabiliser[row] = now;
  sums->limit[row] = now + scale.slack;
}

/// One row whose keys of this step are all visible.
template <int parts, bool wants_lse>
FOVEA_WORD void softmax_row(const float* scores, char* p, RowSums* sums, int row, const ScoreScale& scale) {
  __m512 x[kStepVectors], largest[kStepVectors];
  FOVEA_UNROLL
  for (int i = 0; i < kStepVectors; ++i) largest[i] = x[i] = _mm512_load_ps(scores + i * 16);
  FOVEA_UNROLL
  for (int n = kStepVectors / 2; n > 0; n /= 2) {  // a tree: its latency is on the way to everything else
    FOVEA_UNROLL
    for (int i = 0; i < n; ++i) largest[i] = _mm512_max_ps(largest[i], largest[i + n]);
  }
  if (__builtin_expect(_mm512_cmp_ps_mask(largest[0], _mm512_set1_ps(sums->limit[row]), _CMP_GT_OQ) != 0, 0)) {
    move_stabiliser(sums, row, largest[0], scale);
  }
  const __m512 factor = _mm512_set1_ps(scale.scale_log2);
  const __m512 offset = _mm512_set1_ps(sums->stabiliser[row] * scale.scale_log2);
  __m512 sum = _mm512_load_ps(sums->sum[row]);
  FOVEA_UNROLL
  for (int i = 0; i < kStepVectors; i += 2) {
    const __m512 low = exp2_for<parts, wants_lse>(_mm512_fmsub_ps(x[i], factor, offset));
    const __m512 high = exp2_for<parts, wants_lse>(_mm512_fmsub_ps(x[i + 1], factor, offset));
    sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
    store_probabilities<parts>(p, row, i / 2, low, high);
  }
  _mm512_store_ps(sums->sum[row], sum);
}

/// Lanes of vector i of the step that lie in [begin, end).
FOVEA_WORD __mmask16 visible_lanes(int begin, int end, int i) {
  const int first = max_of(0, begin - i * 16), past = min_of(16, end - i * 16);
  return past <= first ? 0 : static_cast<__mmask16>(((1u << past) - 1u) & ~((1u << first) - 1u));
}

/// One row that sees the keys [begin, end) of the step only; pairs of vectors in [pair_begin, pair_end) are written.
template <int parts, bool wants_lse>
FOVEA_WORD void softmax_row_masked(const float* scores, char* p, RowSums* sums, int row, const ScoreScale& scale,
                                   int begin, int end, int pair_begin, int pair_end) {
  __m512 largest = _mm512_set1_ps(-kInfinity);
  for (int i = 2 * pair_begin; i < 2 * pair_end; ++i) {
    largest = _mm512_mask_max_ps(largest, visible_lanes(begin, end, i), largest, _mm512_load_ps(scores + i * 16));
  }
  if (_mm512_cmp_ps_mask(largest, _mm512_set1_ps(sums->limit[row]), _CMP_GT_OQ) != 0) {
    move_stabiliser(sums, row, largest, scale);
  }
  const __m512 factor = _mm512_set1_ps(scale.scale_log2);
  const __m512 offset = _mm512_set1_ps(sums->stabiliser[row] * scale.scale_log2);
  __m512 sum = _mm512_load_ps(sums->sum[row]);
  for (int pair = pair_begin; pair < pair_end; ++pair) {
    __m512 x[2];
    FOVEA_UNROLL
    for (int j = 0; j < 2; ++j) {
      const __mmask16 lanes = visible_lanes(begin, end, 2 * pair + j);
      const __m512 t = _mm512_fmsub_ps(_mm512_load_ps(scores + (2 * pair + j) * 16), factor, offset);
      x[j] = _mm512_maskz_mov_ps(lanes, exp2_for<parts, wants_lse>(t));
      sum = _mm512_add_ps(sum, x[j]);
    }
    store_probabilities<parts>(p, row, pair, x[0], x[1]);
  }
  _mm512_store_ps(sums->sum[row], sum);
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
