// SPDX-License-Identifier: Apache-2.0
#include "plan/matmul_plan.h"

#include <bit>

#include "base/hash.h"

namespace fovea {
namespace {

int bucket(int n) {
  constexpr int kSignificantBits = 5;
  const int shift = static_cast<int>(std::bit_width(static_cast<unsigned>(n))) - kSignificantBits;
  if (shift <= 0) return n;
  const std::int64_t up = ((std::int64_t{n} + (1 << shift) - 1) >> shift) << shift;
  return up > INT32_MAX ? n : static_cast<int>(up);
}

bool agrees(const MatmulTile& wanted, const MatmulTile& has, bool with_blocks) {
  const auto is_free = [](int a, int b) { return a == 0 || a == b; };
  return (!with_blocks || (is_free(wanted.block_m, has.block_m) && is_free(wanted.block_n, has.block_n) &&
                           is_free(wanted.block_k, has.block_k))) &&
         is_free(wanted.stages, has.stages) && is_free(wanted.warps, has.warps) &&
         is_free(wanted.cluster_m, has.cluster_m) && is_free(wanted.cluster_n, has.cluster_n) &&
         is_free(wanted.num_splits, has.num_splits) && (!wanted.persistent || wanted.persistent == has.persistent);
}

}  // namespace

MatmulProblem bucket_of(const MatmulProblem& problem) {
  MatmulProblem b = problem;
  b.m = bucket(b.m);
  b.n = bucket(b.n);
  b.k = bucket(b.k);
  b.batch = bucket(b.batch);
  b.alpha = 1.0f;
  b.beta = b.has_c ? 1.0f : 0.0f;
  return b;
}

MatmulConfig choose_config(const std::vector<MatmulConfig>& candidates, const MatmulTile& tile, std::string* choice) {
  if (tile == MatmulTile{}) return candidates.front();
  *choice = "the caller's tile";
  for (const bool with_blocks : {true, false}) {
    for (const MatmulConfig& c : candidates) {
      if (!agrees(tile, tile_of(c), with_blocks)) continue;
      MatmulConfig config = c;
      if (tile.block_m) config.block_m = tile.block_m, config.block_n = tile.block_n, config.block_k = tile.block_k;
      return config;
    }
  }
  MatmulConfig config = candidates.front();
  if (tile.block_m) config.block_m = tile.block_m, config.block_n = tile.block_n, config.block_k = tile.block_k;
  if (tile.stages) config.stages = tile.stages;
  if (tile.warps) config.warps = tile.warps;
  if (tile.cluster_m) config.cluster_m = tile.cluster_m;
  if (tile.cluster_n) config.cluster_n = tile.cluster_n;
  if (tile.num_splits) config.num_splits = tile.num_splits;
  if (tile.persistent) config.is_persistent = *tile.persistent;
  return config;
}

MatmulTile tile_of(const MatmulConfig& c) {
  return {c.block_m, c.block_n, c.block_k, c.stages, c.warps, c.cluster_m, c.cluster_n, c.num_splits, c.is_persistent};
}

std::uint64_t hash_of(const MatmulTile& t) {
  Hasher h;
  h.add(t.block_m).add(t.block_n).add(t.block_k).add(t.stages).add(t.warps).add(t.cluster_m).add(t.cluster_n);
  return h.add(t.num_splits).add(t.persistent ? (*t.persistent ? 2 : 1) : 0).value();
}

}  // namespace fovea
