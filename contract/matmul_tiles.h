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

/// index in [0, tiles_m * tiles_n * batch), which is below 2^31.
HOST_DEVICE constexpr MatmulTilePlace tile_at(const MatmulSchedule& s, int index) {
  const int per_product = s.tiles_m * s.tiles_n;
  const int batch = index / per_product, rest = index - batch * per_product;
  const int per_group = s.group_m * s.tiles_n;
  const int group = rest / per_group, place = rest - group * per_group;
  const int first = group * s.group_m, rows = min_of(s.group_m, s.tiles_m - first);
  const int n = place / rows;
  return {first + place - n * rows, n, batch};
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
HOST_DEVICE constexpr MatmulTilePart part_at(const MatmulSchedule& s, int index, int k) {
  if (s.num_splits == 1) return {tile_at(s, index), 0, 0, k};
  const int split = index % s.num_splits;
  const int begin = min_of(split * s.k_per_split, k);
  return {tile_at(s, index / s.num_splits), split, begin, min_of(begin + s.k_per_split, k)};
}

}  // namespace fovea
