// SPDX-License-Identifier: Apache-2.0
// How a product is cut into blocks on a processor: the cost model of the CPU card.
#pragma once

#include <vector>

#include "base/device_info.h"
#include "contract/matmul_config.h"
#include "cpu/kernels/matmul_kernels.h"
#include "problem/matmul_problem.h"

namespace fovea {

/// True if the card computes d^T = b^T a^T instead: kernels write rows of d.
bool wants_transposed(const MatmulProblem& problem);

/// Configs for a product whose d is not column-major (see wants_transposed), the best guess first.
std::vector<MatmulConfig> cpu_matmul_configs(const cpu::MatmulKernels& kernels, const MatmulProblem& problem,
                                             const DeviceInfo& device);

}  // namespace fovea
