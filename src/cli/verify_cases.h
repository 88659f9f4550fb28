// SPDX-License-Identifier: Apache-2.0
// The cases of `fovea verify attention` when no problem is described: every dtype, mask and awkward shape, small enough
// that all of it takes seconds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/problem_options.h"
#include "cli/random_inputs.h"

namespace fovea::cli {

struct VerifyCase {
  std::string name;
  CallShape shape;
  AttentionOptions options;
  InputKind inputs = InputKind::kNormal;
};

inline constexpr InputKind kAllInputKinds[] = {InputKind::kNormal, InputKind::kLargeScores, InputKind::kEqualScores,
                                               InputKind::kRisingScores};

/// "normal", "large", "equal" or "rising".
bool is_input_kind(std::string_view word);

std::vector<VerifyCase> default_verify_cases();

}  // namespace fovea::cli
