// SPDX-License-Identifier: Apache-2.0
// Numbers of matrix units to fp32, and sums as they keep them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/emulated_gpu/device/abi.h"

namespace fovea::emulated {

inline float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

inline float from_f16(std::uint16_t x) {
  const std::uint32_t sign = (x & 0x8000u) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24f));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

/// As fp16 whose exponent is 8 too small; 480, which e4m3 does not have, is NaN.
inline float from_e4m3(std::uint8_t x) {
  const float value = from_f16(static_cast<std::uint16_t>((x & 0x80u) << 8 | (x & 0x7fu) << 7)) * 256.0f;
  return value == 480.0f || value == -480.0f ? value * __builtin_nanf("") : value;
}

inline unsigned bytes_of(Number number) { return number == Number::kTf32 ? 4 : number == Number::kE4m3 ? 1 : 2; }

/// The matrix units do not look at the last 13 bits of a TF32 operand.
inline float to_float(std::uint32_t bits, Number number) {
  switch (number) {
    case Number::kF16: return from_f16(static_cast<std::uint16_t>(bits));
    case Number::kBf16: return from_bf16(static_cast<std::uint16_t>(bits));
    case Number::kTf32: return std::bit_cast<float>(bits & 0xffffe000u);
    case Number::kE4m3: return from_e4m3(static_cast<std::uint8_t>(bits));
  }
  return 0.0f;
}

/// What the largest of the numbers that are added up leaves of the others where 13 bits after the point are kept, as
/// was found on Hopper for sums of e4m3 (arXiv 2412.19437, section 3.5.2): they are cut off at a multiple of this.
inline double unit_of_e4m3_sum(double largest) {
  if (!(largest > 0) || !std::isfinite(largest)) return 0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::ldexp(1.0, exponent - 1 - 13);
}
inline double cut(double x, double unit) { return unit > 0 ? std::trunc(x / unit) * unit : x; }

}  // namespace fovea::emulated
