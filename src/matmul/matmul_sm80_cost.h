// SPDX-License-Identifier: Apache-2.0
// What matmul_sm80 would take, for a card that does the same in another way.
#pragma once

#include "base/device_info.h"
#include "problem/matmul_problem.h"

namespace fovea {

/// Predicted time of the call with the tile predicted to be best, microseconds; of an H200.
double sm80_cost_us(const MatmulProblem& problem, const DeviceInfo& device);

}  // namespace fovea
