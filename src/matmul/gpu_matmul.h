// SPDX-License-Identifier: Apache-2.0
// What the GPU cards of matrix multiplication share: from problem to config, from config to a compiled kernel.
#pragma once

#include <memory>
#include <string>

#include "cuda/module.h"
#include "jit/unit.h"
#include "plan/matmul_plan.h"

namespace fovea {

/// A designated initialiser that compiles to this config. Fields at their default are left out, and so is what only
/// changes the grid (is_persistent).
std::string source_of(const MatmulConfig& config);

/// The reasons that hold for every GPU card; "yes" leaves the rest to the card.
Support supports_gpu_matmul(const MatmulProblem& problem, const DeviceInfo& device);

/// Fills what follows from the problem: dtypes, orders, epilogue, alignment; of d^T = b^T a^T if swaps_ab.
MatmulConfig gpu_matmul_config(const MatmulProblem& problem, bool swaps_ab);

/// A compiled kernel and its plan. loaded is null if the device is not there.
struct PreparedMatmul {
  MatmulPlan plan;
  std::shared_ptr<const cuda::Kernel> loaded;
};
PreparedMatmul prepare_gpu_matmul(Runtime& runtime, const DeviceInfo& device, const jit::Unit& unit,
                                  const MatmulConfig& config, int shared_bytes);

/// Rows of tiles that take turns, so that what `slots` blocks read at the same time is least. Tiles are block_m x
/// block_n.
int group_of_tiles(int tiles_m, int tiles_n, int block_m, int block_n, int slots);

}  // namespace fovea
