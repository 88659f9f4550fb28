// SPDX-License-Identifier: Apache-2.0
// How long matmul_sm90 takes, from what the parts of an SM and the memory take (docs/kernels/matmul_sm90.md), and the
// tiles that this was fitted to.
#pragma once

#include <span>

#include "base/device_info.h"
#include "plan/matmul_plan.h"

namespace fovea {

struct Sm90Shape {
  int block_m, block_n, warpgroups;
  double product_factor;  // of this tile's products
  // What the rest does not explain, in % of the time, …
  double cluster_m, cluster_n;          // in a cluster of 2 x 1, of 1 x 2
  double splits_2, splits_4, splits_8;  // with k in parts
  double swapped, shared;               // as d^T = b^T a^T, with shared tiles
  bool stores_columns = false;          // where d is column-major, as in d^T = b^T a^T, too
};

/// Every tile that is offered.
std::span<const Sm90Shape> sm90_shapes();

/// Predicted time of the call, microseconds; shares: all blocks share the steps of the last tiles.
double sm90_predicted_us(const MatmulProblem& problem, const MatmulConfig& config, const DeviceInfo& device,
                         bool shares);

/// The same of e4m3, which shares no tiles.
double sm90_e4m3_predicted_us(const MatmulProblem& problem, const MatmulConfig& config, const DeviceInfo& device);

}  // namespace fovea
