// SPDX-License-Identifier: Apache-2.0
#include "attention/forward_sm90_tiles.h"

#include <algorithm>
#include <cstdint>

#include "base/math.h"

namespace fovea {
namespace {

/// Cycles until the last SM is done, head_dim up to 64: what 128 keys of a tile cost and what a tile costs besides, as
/// fitted to times of an H200 (docs/kernels/attention_forward_sm90.md). Tiles behind a mask differ, the longest first.
std::int64_t narrow_cycles(const AttentionProblem& problem, const Sm90Tile& tile, int num_sms) {
  struct Cost {
    int keys, tile;
  };
  constexpr Cost kCosts[2][3] = {{{2050, 1000}, {2490, 2100}, {3570, 2500}},
                                 {{1905, 2170}, {2223, 2950}, {3335, 1285}}};
  const bool is_masked = problem.mask.kind != MaskKind::kNone;
  const Cost cost = kCosts[is_masked][tile.block_q / 64 - 2];
  const std::int64_t heads = std::int64_t{problem.num_heads_q} * problem.batch;
  const int tiles = ceil_div(problem.seqlen_q, tile.block_q);
  std::int64_t longest = 0, all = 0;
  for (int i = 0; i < tiles; ++i) {
    const int unseen = is_masked ? std::max(problem.seqlen_q - (i + 1) * tile.block_q, 0) : 0;
    const std::int64_t blocks = std::max(ceil_div(problem.seqlen_k - unseen, tile.block_k), 1);
    const std::int64_t cycles = blocks * tile.block_k * cost.keys / 128 + cost.tile;
    longest = std::max(longest, cycles);
    all += heads * cycles;
  }
  return is_masked ? std::max(longest, all / num_sms) : (heads * tiles + num_sms - 1) / num_sms * longest;
}

/// Best first, head_dim up to 64.
std::vector<Sm90Tile> narrow_tiles(const AttentionProblem& problem, int num_sms) {
  const bool is_masked = problem.mask.kind != MaskKind::kNone;
  const bool is_medium = is_masked && problem.seqlen_q > 256 && problem.seqlen_q <= 1024;
  const Sm90Tile two = {128, 128, 3, 2, !is_medium}, three = {192, 128, 3, 2, true}, four = {256, 64, 6, 2, false};
  // Windows and softcap need more registers than three warpgroups have.
  if (problem.mask.kind == MaskKind::kWindow || problem.softcap != 0.0f) return {two};
  if (problem.seqlen_q <= 256) return {{128, 64, 4, 2, false}, two, three, four};
  std::vector<Sm90Tile> tiles = {three, two, four};
  std::ranges::stable_sort(tiles, {}, [&](const Sm90Tile& tile) { return narrow_cycles(problem, tile, num_sms); });
  return tiles;
}

/// Whether no SM has more than one tile of 128 rows.
bool is_one_wave(const AttentionProblem& problem, int num_sms) {
  return std::int64_t{ceil_div(problem.seqlen_q, 128)} * problem.num_heads_q * problem.batch <= num_sms;
}

/// Best first, head_dim above 64 up to 128: three warpgroups for long sequences where tiles are many, 1.03 to 1.1 times
/// as fast there and up to 16 % slower at 512. Each has 160 registers per thread.
std::vector<Sm90Tile> medium_tiles(const AttentionProblem& problem, int head_dim, int num_sms) {
  const bool is_masked = problem.mask.kind != MaskKind::kNone;
  // Two warpgroups that begin together stay in step unless they take turns.
  const Sm90Tile two = {128, 128, 2, 2, !is_masked && is_one_wave(problem, num_sms)};
  const Sm90Tile three = head_dim <= 112 ? Sm90Tile{192, 96, 2, 1, is_masked} : Sm90Tile{192, 80, 2, 2, false};
  if (problem.mask.kind == MaskKind::kWindow || problem.softcap != 0.0f) return {two};
  const int from = !is_masked ? 2048 : head_dim <= 112 ? 4096 : 8192;
  const std::int64_t tiles = std::int64_t{ceil_div(problem.seqlen_q, 192)} * problem.num_heads_q * problem.batch;
  if (problem.seqlen_q >= from && tiles >= std::int64_t{8} * num_sms) return {three, two};
  return {two, three};
}

}  // namespace

std::vector<Sm90Tile> long_tiles(const AttentionProblem& problem, int head_dim_qk, int head_dim_v, int num_sms) {
  const int head_dim = std::max(head_dim_qk, head_dim_v);
  if (head_dim <= 64) return narrow_tiles(problem, num_sms);
  if (head_dim <= 128) return medium_tiles(problem, head_dim, num_sms);
  if (head_dim_v <= 128 && head_dim_qk <= 192) return {{128, 128, 2, 1, true}};
  if (head_dim <= 192) return {{128, 96, 2, 1, true}};
  const Sm90Tile wide = {128, 80, 2, 1, true}, narrow = {128, 64, 2, 1, true};
  if (problem.seqlen_q <= 4096) return {narrow, wide};
  return {wide, narrow};
}

Sm90Tile short_tile(int head_dim) {
  if (head_dim <= 64) return {64, 128, 3, 1, false};
  if (head_dim <= 128) return {64, 64, 3, 1, false};
  return {64, 64, 2, 1, false};
}

std::optional<Sm90Tile> small_tile(const AttentionProblem& problem, int head_dim, int num_sms) {
  const std::int64_t tiles = std::int64_t{ceil_div(problem.seqlen_q, 64)} * problem.num_heads_q * problem.batch;
  const bool is_masked = problem.mask.kind != MaskKind::kNone;  // of unequal length then
  if (head_dim <= 64) {
    const bool is_many = tiles > std::int64_t{4} * num_sms;
    if (problem.seqlen_k <= 256 && (is_many ? !is_masked && problem.seqlen_k > 128 : tiles > 2 * num_sms)) {
      return Sm90Tile{64, 64, 2, 2, false, 3};
    }
    if (problem.seqlen_k <= 256 && !is_many) return Sm90Tile{64, 64, 3, 1, false};
    if (tiles <= num_sms) return Sm90Tile{64, 128, 2, 1, false};
  } else if (head_dim <= 128) {
    if (tiles <= num_sms) return Sm90Tile{64, 64, 2, 1, false};
    if (is_masked && tiles <= std::int64_t{2} * num_sms && problem.seqlen_k <= 1024)
      return Sm90Tile{64, 128, 2, 1, false};
  }
  return {};
}

}  // namespace fovea
