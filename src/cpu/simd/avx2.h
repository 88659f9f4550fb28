// SPDX-License-Identifier: Apache-2.0
// The words of AVX2 with FMA and F16C: 8 lanes of fp32. Loads and stores of n lanes touch nothing past them.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/simd/element.h"
#include "cpu/simd/isa.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX2)
namespace fovea::cpu::avx2 {

using Vec = __m256;
using Mask = __m256;
inline constexpr int kLanes = 8;

FOVEA_WORD __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

FOVEA_WORD Vec zero() { return _mm256_setzero_ps(); }
FOVEA_WORD Vec set1(float x) { return _mm256_set1_ps(x); }
FOVEA_WORD Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
FOVEA_WORD Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
FOVEA_WORD Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
FOVEA_WORD Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
FOVEA_WORD Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
/// a * b + c, rounded once.
FOVEA_WORD Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
/// a * b - c
FOVEA_WORD Vec fms(Vec a, Vec b, Vec c) { return _mm256_fmsub_ps(a, b, c); }
/// c - a * b, rounded once.
FOVEA_WORD Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
FOVEA_WORD Vec abs(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FOVEA_WORD Vec copy_sign(Vec magnitude, Vec sign) {
  return _mm256_or_ps(abs(magnitude), _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
}

FOVEA_WORD Mask equal(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
FOVEA_WORD Mask less(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
FOVEA_WORD Vec select(Mask m, Vec yes, Vec no) { return _mm256_blendv_ps(no, yes, m); }
FOVEA_WORD bool has_nan(Vec a) { return _mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)) != 0; }
/// Lanes whose interval [begin, end) of keys holds key.
FOVEA_WORD Mask visible(const int* begin, const int* end, int key) {
  const __m256i k = _mm256_set1_epi32(key);
  const __m256i before = _mm256_cmpgt_epi32(_mm256_load_si256((const __m256i*)begin), k);
  const __m256i inside = _mm256_cmpgt_epi32(_mm256_load_si256((const __m256i*)end), k);
  return _mm256_castsi256_ps(_mm256_andnot_si256(before, inside));
}

/// 32-byte aligned.
FOVEA_WORD Vec load(const float* p) { return _mm256_load_ps(p); }
FOVEA_WORD void store(float* p, Vec v) { _mm256_store_ps(p, v); }

FOVEA_WORD void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
/// To the second-level cache.
FOVEA_WORD void prefetch_far(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }

FOVEA_WORD Vec load_row(const float* p) { return _mm256_loadu_ps(p); }
FOVEA_WORD Vec load_row(const float* p, int n) { return _mm256_maskload_ps(p, first_lanes(n)); }
FOVEA_WORD void store_row(float* p, Vec v) { _mm256_storeu_ps(p, v); }
FOVEA_WORD void store_row(float* p, Vec v, int n) { _mm256_maskstore_ps(p, first_lanes(n), v); }

/// n of 8 elements of 16 bits; there is no masked load of this width.
FOVEA_WORD __m128i load_words(const void* p, int n) {
  alignas(16) unsigned short words[8] = {};
  __builtin_memcpy(words, p, static_cast<unsigned long>(n) * 2);
  return _mm_load_si128((const __m128i*)words);
}
FOVEA_WORD void store_words(void* p, __m128i v, int n) {
  alignas(16) unsigned short words[8];
  _mm_store_si128((__m128i*)words, v);
  __builtin_memcpy(p, words, static_cast<unsigned long>(n) * 2);
}

FOVEA_WORD Vec load_row(const Half* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
FOVEA_WORD Vec load_row(const Half* p, int n) { return _mm256_cvtph_ps(load_words(p, n)); }
FOVEA_WORD __m128i to_half(Vec v) { return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FOVEA_WORD void store_row(Half* p, Vec v) { _mm_storeu_si128((__m128i*)p, to_half(v)); }
FOVEA_WORD void store_row(Half* p, Vec v, int n) { store_words(p, to_half(v), n); }

/// As fp16 whose exponent is 8 too small; 480, which e4m3 does not have, stands for NaN.
FOVEA_WORD Vec from_e4m3(__m128i bytes) {
  const __m128i wide = _mm_cvtepu8_epi16(bytes);
  const __m128i magnitude = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x7f)), 7);
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
  const Vec x = mul(_mm256_cvtph_ps(_mm_or_si128(magnitude, sign)), set1(256.0f));
  return select(equal(abs(x), set1(480.0f)), set1(__builtin_nanf("")), x);
}
FOVEA_WORD Vec load_row(const E4m3* p) { return from_e4m3(_mm_loadl_epi64((const __m128i*)p)); }
FOVEA_WORD Vec load_row(const E4m3* p, int n) {
  alignas(16) unsigned char bytes[16] = {};
  __builtin_memcpy(bytes, p, static_cast<unsigned long>(n));
  return from_e4m3(_mm_load_si128((const __m128i*)bytes));
}

FOVEA_WORD Vec from_bfloat16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
/// Round to nearest even; NaN stays NaN (quiet).
FOVEA_WORD __m128i to_bfloat16(Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
  const Vec nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
  const __m256i wide = _mm256_srli_epi32(
      _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), nan)), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}
FOVEA_WORD Vec load_row(const Bfloat16* p) { return from_bfloat16(_mm_loadu_si128((const __m128i*)p)); }
FOVEA_WORD Vec load_row(const Bfloat16* p, int n) { return from_bfloat16(load_words(p, n)); }
FOVEA_WORD void store_row(Bfloat16* p, Vec v) { _mm_storeu_si128((__m128i*)p, to_bfloat16(v)); }
FOVEA_WORD void store_row(Bfloat16* p, Vec v, int n) { store_words(p, to_bfloat16(v), n); }

/// 2^x for x <= 0, NaN for NaN, 0 for -inf, denormal results kept; 0.7 ulp. The integer exponent is added in two halves
/// only when a lane lies under the normal range (or is NaN), which a branch finds out.
FOVEA_WORD Vec exp2(Vec x) {
  const Vec magic = set1(12582912.0f);        // 1.5 * 2^23: the sum's low bits are round(x)
  const Vec clamped = max(x, set1(-160.0f));  // max gives its second operand for NaN
  const Vec shifted = add(clamped, magic);
  const Vec r = sub(clamped, sub(shifted, magic));
  Vec p = set1(kExp2Round6[6]);
  FOVEA_UNROLL
  for (int i = 5; i >= 0; --i) p = fma(p, r, set1(kExp2Round6[i]));
  const __m256i n = _mm256_castps_si256(shifted);
  const Vec tiny = _mm256_cmp_ps(x, set1(-125.0f), _CMP_NGE_UQ);
  if (__builtin_expect(_mm256_movemask_ps(tiny) == 0, 1)) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(n, 23)));
  }
  const __m256i exponent = _mm256_sub_epi32(n, _mm256_castps_si256(magic));
  const __m256i half = _mm256_srai_epi32(exponent, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const Vec a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const Vec b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(exponent, half), bias), 23));
  return select(_mm256_cmp_ps(x, x, _CMP_UNORD_Q), x, mul(mul(p, a), b));
}

FOVEA_WORD float max_lanes(Vec a) {
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
FOVEA_WORD float sum_lanes(Vec a) {
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
/// Lane i of the result is the sum of the lanes of a[i].
FOVEA_WORD Vec sum_lanes(Vec (&a)[kLanes]) {
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    a[i] = add(_mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]), _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]));
  }
  FOVEA_UNROLL
  for (int i = 0; i < 2; ++i) {
    a[i] = add(_mm256_shuffle_ps(a[2 * i], a[2 * i + 1], 0x44), _mm256_shuffle_ps(a[2 * i], a[2 * i + 1], 0xee));
  }
  return add(_mm256_permute2f128_ps(a[0], a[1], 0x20), _mm256_permute2f128_ps(a[0], a[1], 0x31));
}

/// r[i][j] becomes r[j][i].
FOVEA_WORD void transpose(Vec (&r)[kLanes]) {
  Vec t[kLanes];
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  Vec u[kLanes];
  FOVEA_UNROLL
  for (int i = 0; i < 2; ++i) {
    u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  FOVEA_UNROLL
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[4 + i], 0x20);
    r[4 + i] = _mm256_permute2f128_ps(u[i], u[4 + i], 0x31);
  }
}

}  // namespace fovea::cpu::avx2
FOVEA_ISA_END
#endif  // __x86_64__
