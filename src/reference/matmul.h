// SPDX-License-Identifier: Apache-2.0
// The definition of right: a matrix product element by element with plain loops. Slow on purpose; every kernel is
// judged by it.
#pragma once

#include <vector>

#include "contract/matmul_args.h"
#include "problem/matmul_problem.h"

namespace fovea {

/// c is what it was before the call: pass args whose c is a copy where the call overwrites it.
///
/// Row `row` of product `batch` of d, in float64 (inputs taken as their dtypes hold them), not rounded.
std::vector<double> reference_matmul_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row);

/// The plain method: the same in fp32, each sum in index order of k with a multiplication and an addition, then alpha,
/// c, bias and activation, rounded to d's dtype. With math = fast, fp32 elements of a and b are rounded to TF32 (10
/// bits of mantissa, ties away from zero) before they are multiplied. Scales multiply sums: per block those of 128 of
/// k.
std::vector<double> plain_matmul_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row);

/// The sums of the absolute values of that row's products, times alpha and the scales: what errors of sums that are
/// accumulated with fewer bits are measured by.
std::vector<double> matmul_magnitude_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row);

}  // namespace fovea
