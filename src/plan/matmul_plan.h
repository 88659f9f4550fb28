// SPDX-License-Identifier: Apache-2.0
// Plans and cards of matrix multiplication.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "fovea/matmul.h"
#include "plan/card.h"
#include "problem/matmul_problem.h"

namespace fovea {

struct MatmulOperation {
  using Problem = MatmulProblem;
  using Config = MatmulConfig;
  using Tile = MatmulTile;
  using Args = MatmulArgs;
};
using MatmulPlan = Plan<MatmulOperation>;
using MatmulKernel = Card<MatmulOperation>;
using MatmulKey = PlanKey<MatmulOperation>;

/// The problem with m, n, k and batch rounded up to six significant bits (2048, 2112, 2176 …; exact up to 64), alpha
/// taken out and beta to on or off; on a CPU without alignments. Tiles are chosen by how they cut m and n, so buckets
/// are narrow.
MatmulProblem bucket_of(const MatmulProblem& problem);

/// The caller's tile laid over the first candidate that agrees with what it names besides the blocks, or over the first
/// of all; the card's prepare refuses what it cannot do.
MatmulConfig choose_config(const std::vector<MatmulConfig>& candidates, const MatmulTile& tile, std::string* choice);

/// The tile of a config, every field set.
MatmulTile tile_of(const MatmulConfig& config);

std::uint64_t hash_of(const MatmulTile& tile);

/// For the tuning table: what of a bucket decides about speed, and a tile as numbers by name and back.
std::string tuning_text(const MatmulProblem& bucket);
std::map<std::string, int> numbers_of(const MatmulTile& tile);
MatmulTile tile_from(const std::map<std::string, int>& numbers);

}  // namespace fovea
