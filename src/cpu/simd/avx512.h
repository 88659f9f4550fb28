// SPDX-License-Identifier: Apache-2.0
// The words of AVX-512 (F, BW, DQ, VL): 16 lanes of fp32. Loads and stores of n lanes touch nothing past them.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/simd/element.h"
#include "cpu/simd/isa.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512)
namespace fovea::cpu::avx512 {

using Vec = __m512;
using Mask = __mmask16;
inline constexpr int kLanes = 16;

FOVEA_WORD Mask first_lanes(int n) { return static_cast<Mask>((1u << n) - 1u); }

FOVEA_WORD Vec zero() { return _mm512_setzero_ps(); }
FOVEA_WORD Vec set1(float x) { return _mm512_set1_ps(x); }
FOVEA_WORD Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
FOVEA_WORD Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
FOVEA_WORD Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
FOVEA_WORD Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
FOVEA_WORD Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
/// a * b + c, rounded once.
FOVEA_WORD Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
/// a * b - c
FOVEA_WORD Vec fms(Vec a, Vec b, Vec c) { return _mm512_fmsub_ps(a, b, c); }
/// c - a * b, rounded once.
FOVEA_WORD Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
FOVEA_WORD Vec abs(Vec a) { return _mm512_abs_ps(a); }
FOVEA_WORD Vec copy_sign(Vec magnitude, Vec sign) {
  return _mm512_or_ps(_mm512_andnot_ps(_mm512_set1_ps(-0.0f), magnitude), _mm512_and_ps(_mm512_set1_ps(-0.0f), sign));
}

FOVEA_WORD Mask equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FOVEA_WORD Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FOVEA_WORD Vec select(Mask m, Vec yes, Vec no) { return _mm512_mask_blend_ps(m, no, yes); }
FOVEA_WORD bool has_nan(Vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q) != 0; }
/// Lanes whose interval [begin, end) of keys holds key.
FOVEA_WORD Mask visible(const int* begin, const int* end, int key) {
  const __m512i k = _mm512_set1_epi32(key);
  return _mm512_mask_cmplt_epi32_mask(_mm512_cmple_epi32_mask(_mm512_load_si512(begin), k), k, _mm512_load_si512(end));
}

/// 64-byte aligned.
FOVEA_WORD Vec load(const float* p) { return _mm512_load_ps(p); }
FOVEA_WORD void store(float* p, Vec v) { _mm512_store_ps(p, v); }

FOVEA_WORD void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
/// To the second-level cache.
FOVEA_WORD void prefetch_far(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }

FOVEA_WORD Vec load_row(const float* p) { return _mm512_loadu_ps(p); }
FOVEA_WORD Vec load_row(const float* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
FOVEA_WORD void store_row(float* p, Vec v) { _mm512_storeu_ps(p, v); }
FOVEA_WORD void store_row(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

FOVEA_WORD Vec load_row(const Half* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
FOVEA_WORD Vec load_row(const Half* p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p)); }
FOVEA_WORD __m256i to_half(Vec v) { return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FOVEA_WORD void store_row(Half* p, Vec v) { _mm256_storeu_si256((__m256i*)p, to_half(v)); }
FOVEA_WORD void store_row(Half* p, Vec v, int n) { _mm256_mask_storeu_epi16(p, first_lanes(n), to_half(v)); }

/// As fp16 whose exponent is 8 too small; 480, which e4m3 does not have, stands for NaN.
FOVEA_WORD Vec from_e4m3(__m128i bytes) {
  const __m256i wide = _mm256_cvtepu8_epi16(bytes);
  const __m256i magnitude = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x7f)), 7);
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
  const Vec x = mul(_mm512_cvtph_ps(_mm256_or_si256(magnitude, sign)), set1(256.0f));
  return select(equal(abs(x), set1(480.0f)), set1(__builtin_nanf("")), x);
}
FOVEA_WORD Vec load_row(const E4m3* p) { return from_e4m3(_mm_loadu_si128((const __m128i*)p)); }
FOVEA_WORD Vec load_row(const E4m3* p, int n) { return from_e4m3(_mm_maskz_loadu_epi8(first_lanes(n), p)); }

FOVEA_WORD Vec from_bfloat16(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
/// Round to nearest even with integers: the bf16 instructions flush denormals. NaN stays NaN (quiet).
FOVEA_WORD __m256i to_bfloat16(Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
  const Mask nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16));
}
FOVEA_WORD Vec load_row(const Bfloat16* p) { return from_bfloat16(_mm256_loadu_si256((const __m256i*)p)); }
FOVEA_WORD Vec load_row(const Bfloat16* p, int n) { return from_bfloat16(_mm256_maskz_loadu_epi16(first_lanes(n), p)); }
FOVEA_WORD void store_row(Bfloat16* p, Vec v) { _mm256_storeu_si256((__m256i*)p, to_bfloat16(v)); }
FOVEA_WORD void store_row(Bfloat16* p, Vec v, int n) { _mm256_mask_storeu_epi16(p, first_lanes(n), to_bfloat16(v)); }

/// 2^x for x <= 0, NaN for NaN, 0 for -inf, denormal results kept. scalef takes floor(x) itself, so that no clamp and
/// no integer work is needed: 7 instructions, 1.3 ulp, exactly 1 at 0.
FOVEA_WORD Vec exp2(Vec x) {
  const Vec r = _mm512_reduce_ps(x, 0x09);  // x - floor(x), no exception
  Vec p = set1(kExp2Floor5[5]);
  FOVEA_UNROLL
  for (int i = 4; i >= 0; --i) p = fma(p, r, set1(kExp2Floor5[i]));
  return _mm512_scalef_ps(p, x);
}

FOVEA_WORD float max_lanes(Vec a) { return _mm512_reduce_max_ps(a); }
FOVEA_WORD float sum_lanes(Vec a) { return _mm512_reduce_add_ps(a); }
/// Lane i of the result is the sum of the lanes of a[i]: 30 shuffles, half as many as a transposition.
FOVEA_WORD Vec sum_lanes(Vec (&a)[kLanes]) {
  FOVEA_UNROLL
  for (int i = 0; i < 8; ++i) {
    a[i] = add(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
  }
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m512d low = _mm512_castps_pd(a[2 * i]), high = _mm512_castps_pd(a[2 * i + 1]);
    a[i] = add(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)), _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
  }
  FOVEA_UNROLL
  for (int half = 2; half > 0; half /= 2) {
    FOVEA_UNROLL
    for (int i = 0; i < half; ++i) {
      a[i] =
          add(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x88), _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xdd));
    }
  }
  return a[0];
}

/// r[i][j] becomes r[j][i].
FOVEA_WORD void transpose(Vec (&r)[kLanes]) {
  Vec t[kLanes];
  FOVEA_UNROLL
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]);
    const __m512d c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
    r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
  }
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

}  // namespace fovea::cpu::avx512
FOVEA_ISA_END
#endif  // __x86_64__
