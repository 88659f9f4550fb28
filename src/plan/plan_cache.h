// SPDX-License-Identifier: Apache-2.0
// Plans by what was asked. A hit costs one hash look-up under a shared lock.
#pragma once

#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "plan/attention_plan.h"

namespace fovea {

/// What a plan depends on: the problem's bucket, the tile and the kernel that the caller insists on.
struct PlanKey {
  AttentionProblem bucket;
  AttentionTile tile;
  std::string kernel;
  friend bool operator==(const PlanKey&, const PlanKey&) = default;
};

/// The problem with what no plan depends on taken out or rounded: lengths, batch and heads to powers of two (they
/// choose among candidates and split counts, never instructions), window sizes, scale, and softcap to on or off.
AttentionProblem bucket_of(const AttentionProblem& problem);

class PlanCache {
 public:
  using Prepare = std::function<AttentionPlan()>;

  /// The cached plan, or the one that prepare makes. Two threads that miss at once may both prepare; the first stays.
  std::shared_ptr<const AttentionPlan> find_or_prepare(const PlanKey& key, const Prepare& prepare);
  std::size_t size() const;

 private:
  struct Hash {
    std::size_t operator()(const PlanKey& key) const;
  };
  mutable std::shared_mutex mutex_;
  std::unordered_map<PlanKey, std::shared_ptr<const AttentionPlan>, Hash> plans_;
};

}  // namespace fovea
