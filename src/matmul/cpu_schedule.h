// SPDX-License-Identifier: Apache-2.0
// A matrix product on threads: which blocks, what is packed when, and who computes what.
//
// A task is a block_m x block_n part of one product and all of its k, in steps of block_k. An operand's block that one
// task alone uses is packed by that task, step by step, and stays in its core's cache; what several tasks use is packed
// before, once, by all threads. So with one column of tasks b is packed ahead, with one row of tasks a is.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/thread_pool.h"

namespace fovea {

void run_cpu_matmul(cpu::ThreadPool& pool, const cpu::MatmulKernels& kernels, const MatmulArgs& args,
                    const MatmulConfig& config);

}  // namespace fovea
