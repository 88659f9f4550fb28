// SPDX-License-Identifier: Apache-2.0
// How many blocks of a kernel an SM holds, by CUDA's allocation rules (registers per warp in units of 256 in each of
// four partitions, shared memory in units of 128 or 256 bytes plus what the system reserves). Needs no GPU.
#pragma once

#include <string_view>

#include "base/device_info.h"

namespace fovea::cuda {

inline constexpr int kMaxRegistersPerThread = 255;
inline constexpr int kMaxThreadsPerBlock = 1024;
inline constexpr int kThreadsPerWarp = 32;

struct BlockShape {
  int threads = 0;
  int registers_per_thread = 0;
  int shared_bytes = 0;  // static + dynamic
};

struct Occupancy {
  int blocks_per_sm = 0;  // 0: the kernel cannot run on this GPU
  int warps_per_sm = 0;
  std::string_view limit;  // what bounds it: "registers", "shared memory", "threads" or "blocks"
};

Occupancy occupancy(const DeviceInfo& device, const BlockShape& block);

}  // namespace fovea::cuda
