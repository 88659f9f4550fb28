// SPDX-License-Identifier: Apache-2.0
#include "cuda/occupancy.h"

#include <limits>

#include "base/math.h"
#include "contract/host_device.h"

namespace fovea::cuda {
namespace {

constexpr int kRegisterUnit = 256;  // per warp
constexpr int kPartitions = 4;      // of an SM; a warp lives in one

int blocks_by_registers(const DeviceInfo& device, const BlockShape& block, int warps) {
  if (block.registers_per_thread > kMaxRegistersPerThread) return 0;
  if (block.registers_per_thread == 0) return std::numeric_limits<int>::max();
  const int per_warp = static_cast<int>(round_up(block.registers_per_thread * kThreadsPerWarp, kRegisterUnit));
  // The launch check counts every partition as used, so a block's warps round up to four.
  if (per_warp * round_up(warps, kPartitions) > device.registers_per_sm) return 0;
  const int warps_per_partition = device.registers_per_sm / kPartitions / per_warp;
  return warps_per_partition * kPartitions / warps;
}

int blocks_by_shared(const DeviceInfo& device, const BlockShape& block) {
  if (block.shared_bytes > device.shared_per_block_bytes) return 0;
  const int unit = device.compute_capability >= 80 ? 128 : 256;
  const std::int64_t taken = round_up(block.shared_bytes + device.shared_reserved_bytes, unit);
  return taken == 0 ? std::numeric_limits<int>::max() : static_cast<int>(device.shared_per_sm_bytes / taken);
}

}  // namespace

Occupancy occupancy(const DeviceInfo& device, const BlockShape& block) {
  if (block.threads <= 0 || block.threads > kMaxThreadsPerBlock) return {0, 0, "threads"};
  const int warps = ceil_div(block.threads, kThreadsPerWarp);
  Occupancy best = {device.max_blocks_per_sm, 0, "blocks"};
  const auto limit = [&best](int blocks, std::string_view by) {
    if (blocks < best.blocks_per_sm) best = {blocks, 0, by};
  };
  limit(device.max_threads_per_sm / kThreadsPerWarp / warps, "threads");
  limit(blocks_by_registers(device, block, warps), "registers");
  limit(blocks_by_shared(device, block), "shared memory");
  best.warps_per_sm = best.blocks_per_sm * warps;
  return best;
}

}  // namespace fovea::cuda
