// SPDX-License-Identifier: Apache-2.0
// Plans by what was asked. A hit costs one hash look-up under a shared lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/hash.h"
#include "plan/card.h"

namespace fovea {

template <typename Operation>
class PlanCache {
 public:
  using Key = PlanKey<Operation>;
  using Prepare = std::function<Plan<Operation>()>;

  /// The cached plan, or the one that prepare makes. Two threads that miss at once may both prepare; the first stays.
  std::shared_ptr<const Plan<Operation>> find_or_prepare(const Key& key, const Prepare& prepare) {
    {
      std::shared_lock lock(mutex_);
      if (const auto it = plans_.find(key); it != plans_.end()) return it->second;
    }
    auto plan = std::make_shared<const Plan<Operation>>(prepare());  // may compile for a second: not under the lock
    std::unique_lock lock(mutex_);
    return plans_.try_emplace(key, std::move(plan)).first->second;
  }

  std::size_t size() const {
    std::shared_lock lock(mutex_);
    return plans_.size();
  }

  /// Later calls choose anew; calls under way keep their plans.
  void clear() {
    std::unique_lock lock(mutex_);
    plans_.clear();
    stamp_.store(next_stamp());
  }

  /// Of what is cached now: a plan that was found while this number held is the one to be found as long as it does.
  /// No two caches have a number in common, nor is 0 one.
  std::uint64_t stamp() const { return stamp_.load(std::memory_order_acquire); }

 private:
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return Hasher().add(hash_of(key.bucket)).add(hash_of(key.tile)).add(std::string_view(key.kernel)).value();
    }
  };
  static std::uint64_t next_stamp() {
    static std::atomic<std::uint64_t> count{0};
    return count.fetch_add(1) + 1;
  }

  mutable std::shared_mutex mutex_;
  std::atomic<std::uint64_t> stamp_{next_stamp()};
  std::unordered_map<Key, std::shared_ptr<const Plan<Operation>>, Hash> plans_;
};

}  // namespace fovea
