// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <string>

#include "base/check.h"

namespace fovea {
namespace {
std::atomic<LogLevel> current_level{LogLevel::kWarn};
constexpr std::string_view kNames[] = {"error", "warn", "info", "debug"};
}  // namespace

void set_log_level(LogLevel level) { current_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return current_level.load(std::memory_order_relaxed); }

LogLevel parse_log_level(std::string_view name) {
  if (name.empty()) return LogLevel::kWarn;
  for (int i = 0; i < 4; ++i) {
    if (kNames[i] == name) return static_cast<LogLevel>(i);
  }
  fail(ErrorCode::kInvalidArgument, "FOVEA_LOG", "FOVEA_LOG is '{}', must be error, warn, info or debug", name);
}

void log_line(LogLevel level, std::string_view text) {
  // One write per line, so that lines of several threads do not mix.
  const std::string line = fmt::format("fovea {}: {}\n", kNames[static_cast<int>(level)], text);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace fovea
