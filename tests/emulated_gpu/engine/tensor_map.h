// SPDX-License-Identifier: Apache-2.0
// A tensor map as this driver writes it into its 128 opaque bytes.
#pragma once

#include <cstdint>

namespace fovea::emulated {

/// Innermost dimension first; stride_bytes[0] is the element's size.
struct TensorMapFields {
  static constexpr std::uint32_t kMagic = 0x50414d54;
  std::uint32_t magic;
  std::uint8_t rank, element_bytes, swizzle;  // swizzle: 0 none, 1 to 3 for 32, 64, 128 bytes
  bool rounds_to_tf32;                        // what is loaded
  std::uint64_t address;
  std::uint64_t stride_bytes[5];
  std::uint32_t last[5];  // extent - 1
  std::uint16_t box[5];
};
static_assert(sizeof(TensorMapFields) <= 128);

}  // namespace fovea::emulated
