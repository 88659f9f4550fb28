// SPDX-License-Identifier: Apache-2.0
#include "plan/attention_plan.h"

#include <bit>

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

AttentionConfig choose_config(const std::vector<AttentionConfig>& candidates, const AttentionTile& tile,
                              std::string* choice) {
  if (tile == AttentionTile{}) return candidates.front();
  *choice = "the caller's tile";
  const auto agrees = [&](const AttentionConfig& c) {
    return (tile.block_q == 0 || tile.block_q == c.block_q) && (tile.block_k == 0 || tile.block_k == c.block_k) &&
           (tile.stages == 0 || tile.stages == c.stages) && (tile.warps == 0 || tile.warps == c.warps);
  };
  for (const AttentionConfig& c : candidates) {
    if (agrees(c)) return c;
  }
  AttentionConfig config = candidates.front();
  if (tile.block_q) config.block_q = tile.block_q;
  if (tile.block_k) config.block_k = tile.block_k;
  if (tile.stages) config.stages = tile.stages;
  if (tile.warps) config.warps = tile.warps;
  return config;
}

std::uint64_t hash_of(const AttentionTile& tile) {
  return Hasher().add(tile.block_q).add(tile.block_k).add(tile.stages).add(tile.warps).value();
}

}  // namespace fovea
