// SPDX-License-Identifier: Apache-2.0
// The order in which a GPU computes the tiles of a product. Tiles that run at the same time should read the same rows
// of a and columns of b, so that these come from the L2 cache: tiles go down group_m rows of tiles before they step to
// the right.
#pragma once

#include "contract/matmul_args.h"

namespace fovea {

struct MatmulTilePlace {
  int m;  // index of the tile, not of its first row
  int n;
  int batch;
};

/// For the host: the tiles of one product, none of the three 0, and what tile_at divides by.
constexpr void set_tiles(MatmulSchedule& s, int tiles_m, int tiles_n, int group_m) {
  s.tiles_m = tiles_m, s.tiles_n = tiles_n, s.group_m = group_m;
  const auto by = [](int d) { return Divisor(static_cast<unsigned>(d)); };
  s.of_product = by(tiles_m * tiles_n);
  s.of_group = by(group_m * tiles_n);
  s.of_rows = by(group_m);
  s.of_last_rows = by(tiles_m % group_m == 0 ? group_m : tiles_m % group_m);
}

/// index in [0, tiles_m * tiles_n * batch), which is below 2^31. has_batch: false if the batch is known to be 1.
HOST_DEVICE constexpr MatmulTilePlace tile_at(const MatmulSchedule& s, int index, bool has_batch = true) {
  const auto quotient = [](int n, const Divisor& d) { return static_cast<int>(d.divide(static_cast<unsigned>(n))); };
  const int batch = has_batch ? quotient(index, s.of_product) : 0, rest = index - batch * s.tiles_m * s.tiles_n;
  const int group = quotient(rest, s.of_group), place = rest - group * s.group_m * s.tiles_n;
  const int first = group * s.group_m;
  const bool is_whole = first + s.group_m <= s.tiles_m;
  const int n = quotient(place, is_whole ? s.of_rows : s.of_last_rows);
  return {first + place - n * (is_whole ? s.group_m : s.tiles_m - first), n, batch};
}

/// Stream-K: the shared tiles' steps of k, one tile after the other, are divided evenly; block (or cluster) number
/// `block` of `blocks` has those from here to where the next one's begin. steps: of each tile.
HOST_DEVICE constexpr int shared_steps_before(const MatmulSchedule& s, int steps, int block, int blocks) {
  return static_cast<int>(Int64{s.shared_tiles} * steps * block / blocks);
}

/// A tile and the steps of k that one block adds up.
struct MatmulTilePart {
  MatmulTilePlace tile;
  int split;
  int k_begin, k_end;
};

/// Where k is split through the workspace: block index counts the splits of a tile one after the other.
HOST_DEVICE constexpr MatmulTilePart part_at(const MatmulSchedule& s, int index, int k, bool has_batch = true) {
  if (s.num_splits == 1) return {tile_at(s, index, has_batch), 0, 0, k};
  const int split = index % s.num_splits;
  const int begin = min_of(split * s.k_per_split, k);
  return {tile_at(s, index / s.num_splits, has_batch), split, begin, min_of(begin + s.k_per_split, k)};
}

}  // namespace fovea
