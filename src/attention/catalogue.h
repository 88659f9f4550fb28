// SPDX-License-Identifier: Apache-2.0
// The problems that kernels are compiled for ahead of any call: by `fovea prebuild`, and by the tests that compile
// every kernel for every architecture.
#pragma once

#include <vector>

#include "problem/attention_problem.h"

namespace fovea {

/// Forward problems on a GPU that between them ask for every kind of kernel: dtypes, head dimensions, masks, options,
/// packed and split keys. Numbers that compile into nothing (lengths, heads) are typical ones.
std::vector<AttentionProblem> attention_catalogue();

}  // namespace fovea
