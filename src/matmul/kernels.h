// SPDX-License-Identifier: Apache-2.0
// The list of matrix multiplication kernels: the whole dispatch of the operation.
#pragma once

#include <span>

#include "plan/matmul_plan.h"

namespace fovea {

extern const MatmulKernel matmul_sm90;
extern const MatmulKernel matmul_sm80;
extern const MatmulKernel matmul_fp32;
extern const MatmulKernel matmul_cpu;

/// In order of preference: the first that supports a problem runs it.
std::span<const MatmulKernel* const> matmul_kernels();

}  // namespace fovea
