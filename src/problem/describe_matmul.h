// SPDX-License-Identifier: Apache-2.0
// Tensors + options -> problem and parameter block of a matrix product: every check of a call is made here, once, for
// every kernel and device.
#pragma once

#include "contract/matmul_args.h"
#include "fovea/matmul.h"
#include "problem/matmul_problem.h"

namespace fovea {

/// What a call asks, and where its operands lie. args.schedule is left to the kernel.
struct MatmulCall {
  MatmulProblem problem;
  MatmulArgs args;
};

/// Checks the call. Data pointers are not read; null data is allowed unless require_data. Leading dimensions that lie
/// one behind the other are joined, and rows of a batch that shares b become rows of one product where strides allow.
/// Throws kInvalidArgument naming the operand.
MatmulCall describe_matmul(const MatmulTensors& tensors, const MatmulOptions& options, bool require_data = true);

/// The same product as d^T = b^T a^T: a and b change places, orders are exchanged, and a bias per column becomes one
/// per row (the caller must know: neither struct says so).
MatmulProblem transposed(const MatmulProblem& problem);
MatmulArgs transposed(const MatmulArgs& args);

}  // namespace fovea
