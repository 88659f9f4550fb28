// SPDX-License-Identifier: Apache-2.0
// Tensors + problem -> the parameter block that every kernel and the reference read. Layouts end here: behind this only
// strides are left.
#pragma once

#include "contract/attention_args.h"
#include "fovea/attention.h"
#include "problem/attention_problem.h"

namespace fovea {

/// problem must come from describe_attention on the same tensors and layout. Paged keys are not put in.
AttentionArgs attention_args(const AttentionTensors& tensors, Layout layout, const AttentionProblem& problem);

}  // namespace fovea
