// SPDX-License-Identifier: Apache-2.0
// Tiles of attention_forward_sm90, as measured on an H200 (docs/kernels/attention_forward_sm90.md).
#pragma once

#include <optional>
#include <vector>

#include "problem/attention_problem.h"

namespace fovea {

/// What a block of attention_forward_sm90 works on, and how.
struct Sm90Tile {
  int block_q, block_k, stages, q_stages;
  bool takes_turns;
  int blocks_per_sm = block_q == 64 ? 2 : 1;  // where shared memory holds them
};

/// For many rows: best first. The head_dims are multiples of 16.
std::vector<Sm90Tile> long_tiles(const AttentionProblem& problem, int head_dim_qk, int head_dim_v, int num_sms);

/// For short calls: bound by reading keys and values. Two blocks per SM where shared memory holds them.
Sm90Tile short_tile(int head_dim);

/// For calls that have less than a tile of 128 rows for every SM and keys too few to be split.
std::optional<Sm90Tile> small_tile(const AttentionProblem& problem, int head_dim, int num_sms);

}  // namespace fovea
