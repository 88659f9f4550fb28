// SPDX-License-Identifier: Apache-2.0
// 16-bit numbers to fp32.
#pragma once

#include <bit>
#include <cstdint>

namespace fovea::emulated {

inline float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

inline float from_f16(std::uint16_t x) {
  const std::uint32_t sign = (x & 0x8000u) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24f));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

inline float from_16_bits(std::uint16_t x, bool is_bf16) { return is_bf16 ? from_bf16(x) : from_f16(x); }

}  // namespace fovea::emulated
