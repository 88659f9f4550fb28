// SPDX-License-Identifier: Apache-2.0
// Plans and cards of attention.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "fovea/attention.h"
#include "plan/card.h"
#include "problem/attention_problem.h"

namespace fovea {

struct AttentionOperation {
  using Problem = AttentionProblem;
  using Config = AttentionConfig;
  using Tile = AttentionTile;
  using Args = AttentionArgs;
};
using AttentionPlan = Plan<AttentionOperation>;
using AttentionKernel = Card<AttentionOperation>;
using AttentionKey = PlanKey<AttentionOperation>;

/// The problem with what no plan depends on taken out or rounded: lengths, batch and heads to powers of two (they
/// choose among candidates and split counts, never instructions), window sizes, scale, and softcap to on or off.
AttentionProblem bucket_of(const AttentionProblem& problem);

/// The caller's tile sizes laid over the best candidate that agrees with them, or over the first one.
AttentionConfig choose_config(const std::vector<AttentionConfig>& candidates, const AttentionTile& tile,
                              std::string* choice);

std::uint64_t hash_of(const AttentionTile& tile);

}  // namespace fovea
