// SPDX-License-Identifier: Apache-2.0
#include "cli/demo/memory.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace fovea::cli {
namespace {

/// The value of a line "Name:   123 kB" in bytes.
std::optional<std::int64_t> kilobyte_line(const char* path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    std::istringstream words(line.substr(name.size()));
    std::int64_t kilobytes = 0;
    if (words >> kilobytes) return kilobytes * 1024;
  }
  return std::nullopt;
}

}  // namespace

PeakMemory::PeakMemory() {
  std::ofstream("/proc/self/clear_refs") << "5";  // sets the high-water mark back to what is resident now
  before_ = kilobyte_line("/proc/self/status", "VmHWM:");
}

std::optional<std::int64_t> PeakMemory::growth_bytes() const {
  const auto peak = kilobyte_line("/proc/self/status", "VmHWM:");
  if (!peak || !before_) return std::nullopt;
  return std::max<std::int64_t>(0, *peak - *before_);
}

std::optional<std::int64_t> available_memory_bytes() { return kilobyte_line("/proc/meminfo", "MemAvailable:"); }

}  // namespace fovea::cli
