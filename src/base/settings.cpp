// SPDX-License-Identifier: Apache-2.0
#include "base/settings.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/check.h"

namespace fovea {
namespace {

std::string get(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int thread_count(const char* name, std::string_view text) {
  const std::string_view first = text.substr(0, text.find(','));  // OMP_NUM_THREADS may be a list, one per nesting level
  int value = 0;
  const auto [end, error] = std::from_chars(first.data(), first.data() + first.size(), value);
  check(error == std::errc() && end == first.data() + first.size() && value > 0, ErrorCode::kInvalidArgument, name,
        "{} is '{}', must be a positive number; unset it to use every processor", name, text);
  return value;
}

}  // namespace

Settings read_settings() {
  Settings s;
  for (const char* name : {"FOVEA_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (const std::string text = get(name); !text.empty()) {
      s.num_threads = thread_count(name, text);
      break;
    }
  }
  s.cpu_isa = get("FOVEA_CPU_ISA");
  s.cache_dir = get("FOVEA_CACHE_DIR");
  if (s.cache_dir.empty()) {
    if (const std::string xdg = get("XDG_CACHE_HOME"); !xdg.empty()) {
      s.cache_dir = xdg + "/fovea";
    } else if (const std::string home = get("HOME"); !home.empty()) {
      s.cache_dir = home + "/.cache/fovea";
    }
  }
  s.kernel_dir = get("FOVEA_KERNEL_DIR");
  s.nvrtc_library = get("FOVEA_NVRTC");
  s.cuda_home = get("CUDA_HOME");
  if (s.cuda_home.empty()) s.cuda_home = get("CUDA_PATH");
  s.log_level = get("FOVEA_LOG");
  s.no_color = !get("NO_COLOR").empty();
  return s;
}

}  // namespace fovea
