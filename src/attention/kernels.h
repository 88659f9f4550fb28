// SPDX-License-Identifier: Apache-2.0
// The list of attention kernels: the whole dispatch of the library.
#pragma once

#include <span>

#include "plan/attention_plan.h"

namespace fovea {

extern const AttentionKernel attention_forward_sm90;
extern const AttentionKernel attention_forward_sm80;
extern const AttentionKernel attention_forward_fp32;
extern const AttentionKernel attention_forward_cpu;

/// In order of preference: the first that supports a problem runs it.
std::span<const AttentionKernel* const> attention_kernels();

}  // namespace fovea
