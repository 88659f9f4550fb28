// SPDX-License-Identifier: Apache-2.0
#include "plan/matmul_plan.h"

#include <fmt/format.h>

#include <bit>
#include <type_traits>

#include "base/hash.h"
#include "contract/dtype.h"

namespace fovea {
namespace {

int bucket(int n) {
  constexpr int kSignificantBits = 6;
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
         is_free(wanted.num_splits, has.num_splits) && (!wanted.persistent || wanted.persistent == has.persistent) &&
         (!wanted.packs_a || wanted.packs_a == has.packs_a) && (!wanted.packs_b || wanted.packs_b == has.packs_b);
}

/// Puts the caller's blocks into a config for other ones. A cluster shares blocks: one that suits the old ones need not
/// suit these, so it goes unless the caller names it.
void take_blocks(MatmulConfig& config, const MatmulTile& tile) {
  if (!tile.block_m) return;
  config.block_m = tile.block_m, config.block_n = tile.block_n, config.block_k = tile.block_k;
  config.cluster_m = tile.cluster_m ? tile.cluster_m : 1;
  config.cluster_n = tile.cluster_n ? tile.cluster_n : 1;
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
  // Copies of a GPU are planned by alignment; a CPU's kernels load from any address.
  if (b.device.kind == DeviceKind::kCPU) b.a_alignment_bytes = b.b_alignment_bytes = b.d_alignment_bytes = 128;
  return b;
}

MatmulConfig choose_config(const std::vector<MatmulConfig>& candidates, const MatmulTile& tile, std::string* choice) {
  if (tile == MatmulTile{}) return candidates.front();
  *choice = "the caller's tile";
  for (const bool with_blocks : {true, false}) {
    for (const MatmulConfig& c : candidates) {
      if (!agrees(tile, tile_of(c), with_blocks)) continue;
      MatmulConfig config = c;
      if (!with_blocks) take_blocks(config, tile);
      return config;
    }
  }
  MatmulConfig config = candidates.front();
  take_blocks(config, tile);
  if (tile.stages) config.stages = tile.stages;
  if (tile.warps) config.warps = tile.warps;
  if (tile.cluster_m) config.cluster_m = tile.cluster_m;
  if (tile.cluster_n) config.cluster_n = tile.cluster_n;
  if (tile.num_splits) config.num_splits = tile.num_splits;
  if (tile.persistent) config.is_persistent = *tile.persistent;
  if (tile.packs_a) config.packs_a = *tile.packs_a;
  if (tile.packs_b) config.packs_b = *tile.packs_b;
  return config;
}

MatmulTile tile_of(const MatmulConfig& c) {
  return {.block_m = c.block_m,
          .block_n = c.block_n,
          .block_k = c.block_k,
          .stages = c.stages,
          .warps = c.warps,
          .cluster_m = c.cluster_m,
          .cluster_n = c.cluster_n,
          .num_splits = c.num_splits,
          .persistent = c.is_persistent,
          .packs_a = c.packs_a,
          .packs_b = c.packs_b};
}

std::uint64_t hash_of(const MatmulTile& t) {
  if (t == MatmulTile{}) return 0;
  Hasher h;
  h.add(t.block_m).add(t.block_n).add(t.block_k).add(t.stages).add(t.warps).add(t.cluster_m).add(t.cluster_n);
  const auto add_choice = [&h](const std::optional<bool>& choice) { h.add(choice ? (*choice ? 2 : 1) : 0); };
  h.add(t.num_splits);
  add_choice(t.persistent);
  add_choice(t.packs_a);
  add_choice(t.packs_b);
  return h.value();
}

std::string tuning_text(const MatmulProblem& p) {
  std::string text =
      fmt::format("{} align {}/{}/{}", to_string(p), p.a_alignment_bytes, p.b_alignment_bytes, p.d_alignment_bytes);
  if (p.has_c) text += fmt::format(" c {} {}", name_of(p.c_dtype), static_cast<int>(p.c_order));
  return text;
}

namespace {

/// The fields of a tile by name; Visit takes (const char*, int&) or (const char*, std::optional<bool>&).
template <typename Tile, typename Visit>
void visit_fields(Tile& t, Visit visit) {
  visit("block_m", t.block_m);
  visit("block_n", t.block_n);
  visit("block_k", t.block_k);
  visit("stages", t.stages);
  visit("warps", t.warps);
  visit("cluster_m", t.cluster_m);
  visit("cluster_n", t.cluster_n);
  visit("num_splits", t.num_splits);
  visit("persistent", t.persistent);
  visit("packs_a", t.packs_a);
  visit("packs_b", t.packs_b);
}

}  // namespace

std::map<std::string, int> numbers_of(const MatmulTile& tile) {
  std::map<std::string, int> numbers;
  visit_fields(tile, [&](const char* name, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const int&>) {
      numbers[name] = value;
    } else if (value) {
      numbers[name] = *value;
    }
  });
  return numbers;
}

MatmulTile tile_from(const std::map<std::string, int>& numbers) {
  MatmulTile tile;
  visit_fields(tile, [&](const char* name, auto& value) {
    if (const auto it = numbers.find(name); it != numbers.end()) value = it->second;
  });
  return tile;
}

}  // namespace fovea
