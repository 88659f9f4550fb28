// SPDX-License-Identifier: Apache-2.0
// A matrix product on threads: which blocks, what is packed when, and who computes what.
//
// A task is a block_m x block_n part of one product and all of its k, in steps of block_k. An operand's block that one
// task alone uses is packed by that task, step by step, and stays in its core's cache; what several tasks use is packed
// before, once, by all threads. So with one column of tasks b is packed ahead, with one row of tasks a is.
#pragma once

#include <vector>

#include "base/device_info.h"
#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/thread_pool.h"
#include "problem/matmul_problem.h"

namespace fovea {

/// True if the card computes d^T = b^T a^T instead: kernels write rows of d.
bool wants_transposed(const MatmulProblem& problem);

/// Configs for a product whose d is not column-major (see wants_transposed), the best guess first.
std::vector<MatmulConfig> cpu_matmul_configs(const cpu::MatmulKernels& kernels, const MatmulProblem& problem,
                                             const DeviceInfo& device);

void run_cpu_matmul(cpu::ThreadPool& pool, const cpu::MatmulKernels& kernels, const MatmulArgs& args,
                    const MatmulConfig& config);

}  // namespace fovea
