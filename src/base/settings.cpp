// SPDX-License-Identifier: Apache-2.0
#include "base/settings.h"

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace fovea {
namespace {

std::string get(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int thread_count(const char* name, std::string_view text) {
  const std::string_view first =
      text.substr(0, text.find(','));  // OMP_NUM_THREADS may be a list, one per nesting level
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
      s.num_threads_from = name;
      break;
    }
  }
  s.cpu_isa = get("FOVEA_CPU_ISA");
  constexpr std::pair<const char*, const char*> kCachePlaces[] = {
      {"FOVEA_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "/fovea"}, {"HOME", "/.cache/fovea"}};
  for (const auto& [name, below] : kCachePlaces) {
    if (const std::string place = get(name); !place.empty()) {
      s.cache_dir = place + below;
      s.cache_dir_from = name;
      break;
    }
  }
  s.kernel_dir = get("FOVEA_KERNEL_DIR");
  s.nvrtc_library = get("FOVEA_NVRTC");
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (s.cuda_home = get(name); !s.cuda_home.empty()) {
      s.cuda_home_from = name;
      break;
    }
  }
  s.prebuilt_dir = get("FOVEA_PREBUILT");
  s.virtual_env = get("VIRTUAL_ENV");
  if (s.virtual_env.empty()) s.virtual_env = get("CONDA_PREFIX");
  s.path = get("PATH");
  s.log_level = get("FOVEA_LOG");
  s.no_color = !get("NO_COLOR").empty();
  s.terminal = get("TERM");
  return s;
}

}  // namespace fovea
