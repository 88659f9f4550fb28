// SPDX-License-Identifier: Apache-2.0
// How much memory a piece of work takes at its peak, as the system counts it.
#pragma once

#include <cstdint>
#include <optional>

namespace fovea::cli {

/// Resident memory above what the process had at construction. Linux only: elsewhere nothing.
class PeakMemory {
 public:
  PeakMemory();
  std::optional<std::int64_t> growth_bytes() const;

 private:
  std::optional<std::int64_t> before_;
};

/// Memory that the system could give to a program now without swapping; nothing where it does not say.
std::optional<std::int64_t> available_memory_bytes();

}  // namespace fovea::cli
