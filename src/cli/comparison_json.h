// SPDX-License-Identifier: Apache-2.0
// A comparison and its limits as JSON, for the commands that judge results.
#pragma once

#include <nlohmann/json.hpp>

#include "verify/tolerance.h"

namespace fovea::cli {

inline nlohmann::ordered_json comparison_json(const Comparison& c, const Tolerance& limit) {
  return {{"max_error", c.max_error()},
          {"plain_max_error", c.plain_max_error()},
          {"max_limit", limit.max_limit},
          {"rms_error", c.rms_error()},
          {"plain_rms_error", c.plain_rms_error()},
          {"rms_limit", limit.rms_limit},
          {"non_finite_mismatches", c.non_finite_mismatches()}};
}

}  // namespace fovea::cli
