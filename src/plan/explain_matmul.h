// SPDX-License-Identifier: Apache-2.0
// The story of a matrix product's plan, for people and for programs.
#pragma once

#include <string>

#include "plan/matmul_plan.h"

namespace fovea {

/// problem is the call's own (the plan knows only its bucket).
std::string explain_text(const MatmulPlan& plan, const MatmulProblem& problem, const DeviceInfo& device);
std::string explain_json(const MatmulPlan& plan, const MatmulProblem& problem, const DeviceInfo& device);

}  // namespace fovea
