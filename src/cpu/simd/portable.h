// SPDX-License-Identifier: Apache-2.0
// The words of the baseline: 4 lanes of fp32 by the vector extension of GCC and clang, which becomes SSE2 on x86-64,
// NEON on AArch64 and scalar code where there is nothing. Also the pattern for a new instruction set: these names are
// all that the kernels use.
#pragma once

#include "cpu/simd/element.h"
#include "cpu/simd/isa.h"

namespace fovea::cpu::baseline {

typedef float Vec __attribute__((vector_size(16)));
typedef int Mask __attribute__((vector_size(16)));
typedef unsigned Bits __attribute__((vector_size(16)));
inline constexpr int kLanes = 4;

FOVEA_WORD Vec set1(float x) { return Vec{x, x, x, x}; }
FOVEA_WORD Vec zero() { return set1(0.0f); }
FOVEA_WORD Vec add(Vec a, Vec b) { return a + b; }
FOVEA_WORD Vec sub(Vec a, Vec b) { return a - b; }
FOVEA_WORD Vec mul(Vec a, Vec b) { return a * b; }
FOVEA_WORD Vec div(Vec a, Vec b) { return a / b; }
FOVEA_WORD Vec select(Mask m, Vec yes, Vec no) { return (Vec)((m & (Mask)yes) | (~m & (Mask)no)); }
/// b where a or b is NaN, as the x86 instruction.
FOVEA_WORD Vec max(Vec a, Vec b) { return select(a > b, a, b); }
/// a * b + c; rounded once where the processor has the instruction.
FOVEA_WORD Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
/// a * b - c, the product exact: the softmax subtracts a stabiliser near it, and a rounding of scores in the tens would
/// become an error of the weight (RMS 1.6 x that of the plain method, measured with softcap).
FOVEA_WORD Vec fms(Vec a, Vec b, Vec c) {
  typedef double Wide __attribute__((vector_size(32)));
  const Wide difference =
      __builtin_convertvector(a, Wide) * __builtin_convertvector(b, Wide) - __builtin_convertvector(c, Wide);
  return __builtin_convertvector(difference, Vec);
}
/// c - a * b
FOVEA_WORD Vec fnma(Vec a, Vec b, Vec c) { return c - a * b; }
FOVEA_WORD Vec abs(Vec a) { return (Vec)((Bits)a & 0x7fffffffu); }
FOVEA_WORD Vec copy_sign(Vec magnitude, Vec sign) {
  return (Vec)(((Bits)magnitude & 0x7fffffffu) | ((Bits)sign & 0x80000000u));
}

FOVEA_WORD Mask equal(Vec a, Vec b) { return a == b; }
FOVEA_WORD Mask less(Vec a, Vec b) { return a < b; }
FOVEA_WORD bool any(Mask m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
FOVEA_WORD bool has_nan(Vec a) { return any(a != a); }

/// 16-byte aligned.
FOVEA_WORD Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, __builtin_assume_aligned(p, 16), sizeof v);
  return v;
}
FOVEA_WORD void store(float* p, Vec v) { __builtin_memcpy(__builtin_assume_aligned(p, 16), &v, sizeof v); }
/// Lanes whose interval [begin, end) of keys holds key.
FOVEA_WORD Mask visible(const int* begin, const int* end, int key) {
  Mask b, e;
  __builtin_memcpy(&b, begin, sizeof b);
  __builtin_memcpy(&e, end, sizeof e);
  return (b <= key) & (e > key);
}

FOVEA_WORD float to_float(float x) { return x; }
FOVEA_WORD float to_float(Bfloat16 x) {
  const unsigned bits = static_cast<unsigned>(x.bits) << 16;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}
/// The exponent is moved by a product with 2^112, which makes denormals right as well; inf and NaN get theirs back.
FOVEA_WORD float to_float(Half x) {
  const unsigned sign = (x.bits & 0x8000u) << 16;
  unsigned bits = (x.bits & 0x7fffu) << 13;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  f *= 0x1p112f;
  __builtin_memcpy(&bits, &f, sizeof f);
  if ((x.bits & 0x7c00u) == 0x7c00u) bits |= 0x7f800000u;
  bits |= sign;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}
/// As of Half: the exponent is moved by a product with 2^120.
FOVEA_WORD float to_float(E4m3 x) {
  const unsigned sign = (x.bits & 0x80u) << 24;
  unsigned bits = (x.bits & 0x7fu) << 20;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  f *= 0x1p120f;
  __builtin_memcpy(&bits, &f, sizeof f);
  if ((x.bits & 0x7fu) == 0x7fu) bits = 0x7fc00000u;
  bits |= sign;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}
FOVEA_WORD void from_float(float x, float* p) { *p = x; }
/// Round to nearest even; NaN stays NaN (quiet).
FOVEA_WORD void from_float(float x, Bfloat16* p) {
  unsigned bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if (x != x) {
    bits |= 0x00400000u;
  } else {
    bits += 0x7fffu + ((bits >> 16) & 1u);
  }
  p->bits = static_cast<unsigned short>(bits >> 16);
}
/// Round to nearest even, denormals included: adding the right power of two lets the processor's own rounding do it.
FOVEA_WORD void from_float(float x, Half* p) {
  unsigned bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const unsigned sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  unsigned half;
  if (bits > 0x7f800000u) {
    half = 0x7e00u | ((bits >> 13) & 0x3ffu);
  } else if (bits >= 0x477ff000u) {  // rounds to 65536 or more
    half = 0x7c00u;
  } else if (bits < 0x38800000u) {  // under 2^-14
    float f;
    __builtin_memcpy(&f, &bits, sizeof f);
    f += 0.5f;  // one unit in the last place of [0.5, 1) is 2^-24, that of the denormals
    __builtin_memcpy(&bits, &f, sizeof f);
    half = bits - 0x3f000000u;
  } else {
    half = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  }
  p->bits = static_cast<unsigned short>(half | sign);
}

FOVEA_WORD void prefetch(const void* p) { __builtin_prefetch(p); }
/// To the second-level cache.
FOVEA_WORD void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }

template <typename T>
FOVEA_WORD Vec load_row(const T* p, int n) {
  Vec v = zero();
  for (int i = 0; i < n; ++i) v[i] = to_float(p[i]);
  return v;
}
template <typename T>
FOVEA_WORD Vec load_row(const T* p) {
  return Vec{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])};
}
template <typename T>
FOVEA_WORD void store_row(T* p, Vec v, int n) {
  for (int i = 0; i < n; ++i) from_float(v[i], p + i);
}
template <typename T>
FOVEA_WORD void store_row(T* p, Vec v) {
  store_row(p, v, kLanes);
}

/// 2^x for x <= 0, NaN for NaN, 0 for -inf, denormal results kept: the exponent is put in by two factors.
FOVEA_WORD Vec exp2(Vec x) {
  const Vec magic = set1(12582912.0f);  // 1.5 * 2^23: the sum's low bits are round(x)
  const Vec clamped = max(x, set1(-160.0f));
  const Vec shifted = clamped + magic;
  const Vec r = clamped - (shifted - magic);
  Vec p = set1(kExp2Round6[6]);
  FOVEA_UNROLL
  for (int i = 5; i >= 0; --i) p = p * r + kExp2Round6[i];
  const Mask exponent = (Mask)shifted - (Mask)magic;
  const Mask half = exponent >> 1;
  const Vec a = (Vec)((half + 127) << 23);
  const Vec b = (Vec)((exponent - half + 127) << 23);
  return select(x != x, x, p * a * b);
}

FOVEA_WORD float max_lanes(Vec a) {
  const float b = a[0] > a[1] ? a[0] : a[1], c = a[2] > a[3] ? a[2] : a[3];
  return b > c ? b : c;
}
FOVEA_WORD float sum_lanes(Vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
/// Lane i of the result is the sum of the lanes of a[i].
FOVEA_WORD Vec sum_lanes(Vec (&a)[kLanes]) {
  return Vec{sum_lanes(a[0]), sum_lanes(a[1]), sum_lanes(a[2]), sum_lanes(a[3])};
}

/// r[i][j] becomes r[j][i].
FOVEA_WORD void transpose(Vec (&r)[kLanes]) {
  Vec t[kLanes];
  FOVEA_UNROLL
  for (int i = 0; i < kLanes; ++i) t[i] = Vec{r[0][i], r[1][i], r[2][i], r[3][i]};
  FOVEA_UNROLL
  for (int i = 0; i < kLanes; ++i) r[i] = t[i];
}

}  // namespace fovea::cpu::baseline
