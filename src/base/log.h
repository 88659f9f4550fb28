// SPDX-License-Identifier: Apache-2.0
// Lines on stderr for what a user may want to know but no call returns. Level from FOVEA_LOG, warn if unset.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace fovea {

enum class LogLevel : int { kError, kWarn, kInfo, kDebug };

void set_log_level(LogLevel level);
LogLevel log_level();
/// "error", "warn", "info", "debug" or "" (warn). Throws kInvalidArgument for another word.
LogLevel parse_log_level(std::string_view name);
void log_line(LogLevel level, std::string_view text);

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> text, Args&&... args) {
  if (level <= log_level()) log_line(level, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace fovea
