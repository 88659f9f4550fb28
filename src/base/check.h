// SPDX-License-Identifier: Apache-2.0
// Raising fovea::Error. check(condition, code, field, format, args...) formats only when it fails.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "fovea/error.h"

namespace fovea {

template <typename... Args>
[[noreturn]] void fail(ErrorCode code, std::string_view field, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(code, std::string(field), fmt::format(text, std::forward<Args>(args)...));
}

/// field: a string_view, or what becomes one only if the check fails: the lengths of names cost every call 60 ns.
template <typename Field, typename... Args>
inline void check(bool ok, ErrorCode code, const Field& field, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) [[unlikely]]
    fail(code, field, text, std::forward<Args>(args)...);
}

}  // namespace fovea
