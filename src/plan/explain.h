// SPDX-License-Identifier: Apache-2.0
// A plan's story, for people and for programs.
#pragma once

#include <string>

#include "plan/attention_plan.h"

namespace fovea {

/// Tiles of one head and sequence by what the mask makes of them.
struct TileCounts {
  long long full = 0;     // every element visible: no test
  long long edge = 0;     // some elements visible
  long long skipped = 0;  // nothing visible: neither loaded nor computed
};
TileCounts count_tiles(const AttentionProblem& problem, int block_q, int block_k);

/// problem is the call's own (the plan knows only its bucket).
std::string explain_text(const AttentionPlan& plan, const AttentionProblem& problem, const DeviceInfo& device);
std::string explain_json(const AttentionPlan& plan, const AttentionProblem& problem, const DeviceInfo& device);

}  // namespace fovea
