// SPDX-License-Identifier: Apache-2.0
// Who does it: walks the list of cards, first that supports the problem wins; then the config, by order of authority:
// the caller's tile, the first candidate.
#pragma once

#include <span>
#include <string>

#include "plan/attention_plan.h"
#include "plan/plan_cache.h"

namespace fovea {

/// The first card of the list that supports the problem on this device (or the one named in the key), prepared.
/// Throws kUnsupported with each card's reason; kInvalidArgument if the key names a kernel that the list does not have.
AttentionPlan choose_attention(std::span<const AttentionKernel* const> kernels, Runtime& runtime, const PlanKey& key,
                               const DeviceInfo& device);

}  // namespace fovea
