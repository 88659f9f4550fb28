// SPDX-License-Identifier: Apache-2.0
// What this compiler gives as machine code: this head, and behind it a shared object of the host.
#pragma once

#include <cstdint>

namespace fovea::emulated {

struct ImageHead {
  static constexpr std::uint64_t kMagic = 0x314d45'4145564f46;
  std::uint64_t magic;
  std::uint64_t bytes;  // of the shared object
  int compute_capability;
  int registers;
};

}  // namespace fovea::emulated
