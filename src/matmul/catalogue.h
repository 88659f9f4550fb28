// SPDX-License-Identifier: Apache-2.0
// The products that kernels are compiled for ahead of any call: by the tests that compile every kernel for every
// architecture.
#pragma once

#include <vector>

#include "problem/matmul_problem.h"

namespace fovea {

/// Products on a GPU that between them ask for every kind of kernel: dtypes, orders, epilogues, alignments, shapes.
std::vector<MatmulProblem> matmul_catalogue();

}  // namespace fovea
