// SPDX-License-Identifier: Apache-2.0
#include "plan/plan_cache.h"

#include <bit>
#include <mutex>

#include "base/hash.h"

namespace fovea {
namespace {

int bucket(int n) {
  constexpr int kLargestPower = 1 << 30;
  return n <= 1 || n > kLargestPower ? n : static_cast<int>(std::bit_ceil(static_cast<unsigned>(n)));
}

}  // namespace

AttentionProblem bucket_of(const AttentionProblem& problem) {
  AttentionProblem b = problem;
  b.batch = bucket(b.batch);
  b.seqlen_q = bucket(b.seqlen_q);
  b.seqlen_k = bucket(b.seqlen_k);
  b.total_q = b.total_k = 0;
  const int group = b.num_heads_kv > 0 ? b.num_heads_q / b.num_heads_kv : 1;  // packing of query heads depends on it
  b.num_heads_kv = bucket(b.num_heads_kv);
  b.num_heads_q = b.num_heads_kv * group;
  if (b.mask.kind == MaskKind::kWindow) {
    b.mask.window_left = b.mask.window_left == kWindowOpen ? kWindowOpen : bucket(b.mask.window_left);
    b.mask.window_right = b.mask.window_right == kWindowOpen ? kWindowOpen : bucket(b.mask.window_right);
  }
  b.softmax_scale = 1.0f;
  b.softcap = b.softcap > 0.0f ? 1.0f : 0.0f;
  return b;
}

std::size_t PlanCache::Hash::operator()(const PlanKey& key) const {
  Hasher h;
  h.add(hash_of(key.bucket)).add(key.tile.block_q).add(key.tile.block_k).add(key.tile.stages).add(key.tile.warps);
  return h.add(std::string_view(key.kernel)).value();
}

std::shared_ptr<const AttentionPlan> PlanCache::find_or_prepare(const PlanKey& key, const Prepare& prepare) {
  {
    std::shared_lock lock(mutex_);
    if (const auto it = plans_.find(key); it != plans_.end()) return it->second;
  }
  auto plan = std::make_shared<const AttentionPlan>(prepare());  // may compile for a second: not under the lock
  std::unique_lock lock(mutex_);
  return plans_.try_emplace(key, std::move(plan)).first->second;
}

std::size_t PlanCache::size() const {
  std::shared_lock lock(mutex_);
  return plans_.size();
}

}  // namespace fovea
