// SPDX-License-Identifier: Apache-2.0
// The one error type. A message tells the field, what it got, what it wanted, and the way out.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "fovea/export.h"

namespace fovea {

/// kInvalidArgument: the call is wrong. kUnsupported: legal, but no kernel does it (the message lists each kernel's
/// reason). kCompile: run-time compilation failed (the message has the log). kCuda: the driver failed. kInternal: a bug
/// in Fovea or a failure of the machine (out of memory, unwritable file).
enum class ErrorCode : int { kInvalidArgument = 1, kUnsupported = 2, kCompile = 3, kCuda = 4, kInternal = 5 };

class FOVEA_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string field, const std::string& message)
      : std::runtime_error(message), code_(code), field_(std::move(field)) {}
  ErrorCode code() const noexcept { return code_; }
  /// The argument at fault ("q", "head_dim_qk", "window_left"), or empty.
  const std::string& field() const noexcept { return field_; }

 private:
  ErrorCode code_;
  std::string field_;
};

}  // namespace fovea
