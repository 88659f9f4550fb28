// SPDX-License-Identifier: Apache-2.0
// Division by a number that the host knows: a product and a shift instead of the forty instructions that a GPU takes.
#pragma once

#include "contract/host_device.h"

namespace fovea {

/// n / d for 0 <= n < 2^31, 1 <= d < 2^31. With s = ceil(log2 d) the multiplier is (2^(31 + s) + e) / d, 0 < e <= 2^s:
/// the error n e / (d 2^(31 + s)) is below 1 / d.
struct Divisor {
  unsigned multiplier = 0x80000001u;
  int shift = 31;

  constexpr Divisor() = default;
  explicit constexpr Divisor(unsigned d) {
    int s = 0;
    while (1ull << s < d) ++s;
    shift = 31 + s;
    multiplier = static_cast<unsigned>((1ull << shift) / d + 1);
  }
  HOST_DEVICE constexpr unsigned divide(unsigned n) const {
    return static_cast<unsigned>(static_cast<unsigned long long>(n) * multiplier >> shift);
  }
};

}  // namespace fovea
