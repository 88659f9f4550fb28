// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/math.cuh.
#pragma once

namespace fovea {

namespace emulated {
inline float flush(float x) { return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.0f, x) : x; }
inline unsigned round_bf16(float x) {
  const unsigned bits = bits_of(x);
  return x != x ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
inline unsigned short round_f16(float x) { return __builtin_bit_cast(unsigned short, static_cast<_Float16>(x)); }
}  // namespace emulated

inline float ex2_approx(float x) { return emulated::flush(exp2f(emulated::flush(x))); }
inline float lg2_approx(float x) { return __builtin_log2f(emulated::flush(x)); }
inline float rcp_approx(float x) { return emulated::flush(1.0f / emulated::flush(x)); }
inline unsigned cvt_rn_bf16x2(float high, float low) {
  return emulated::round_bf16(high) << 16 | emulated::round_bf16(low);
}
inline unsigned cvt_rn_f16x2(float high, float low) {
  return static_cast<unsigned>(emulated::round_f16(high)) << 16 | emulated::round_f16(low);
}
inline unsigned short cvt_rn_f16(float x) { return emulated::round_f16(x); }
/// To nearest, ties away from zero.
inline unsigned cvt_rna_tf32(float x) {
  const unsigned bits = emulated::bits_of(x);
  if (x != x) return 0x7fffffffu;
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
}
inline float cvt_f32_f16(unsigned short x) { return static_cast<float>(__builtin_bit_cast(_Float16, x)); }

}  // namespace fovea
