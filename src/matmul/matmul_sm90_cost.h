// SPDX-License-Identifier: Apache-2.0
// The cost model of matmul_sm90: which tiles there are, which are legal, and how long each would take. Calls no device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/device_info.h"
#include "plan/matmul_plan.h"

namespace fovea {

/// Why the kernel cannot be compiled with this config (field, got, wanted); empty if it can.
std::string sm90_illegal(const MatmulConfig& config);

/// Fits what the caller's blocks leave open: warpgroups for the rows of the tile, stages for the shared memory.
MatmulConfig sm90_fitted(MatmulConfig config);

/// Blocks that run at the same time, a multiple of the cluster.
int sm90_slots(const MatmulConfig& config, int num_sms);

/// Stream-K: of how many tiles (in units of a cluster's joint tile) all blocks share the steps of k, so that the last
/// wave is a full one; 0 where there is nothing to gain.
int sm90_shared_tiles(const MatmulConfig& config, std::int64_t tiles, int k, int slots);

/// Whether sharing them is predicted to be faster.
bool sm90_shares_tiles(const MatmulProblem& problem, const MatmulConfig& config, const DeviceInfo& device);

/// Predicted time of the call, microseconds.
double sm90_cost_us(const MatmulProblem& problem, const MatmulConfig& config, const DeviceInfo& device);

/// Legal configs, the one predicted to be fastest first.
std::vector<MatmulConfig> sm90_candidates(const MatmulProblem& problem, const DeviceInfo& device);

}  // namespace fovea
