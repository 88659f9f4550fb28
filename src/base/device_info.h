// SPDX-License-Identifier: Apache-2.0
// A device as a value: everything that planning may ask about it. src/cuda fills it from a driver or from the table of
// known architectures, src/cpu from cpuid; plan and the cards never ask a device themselves, so they can be tested
// anywhere.
#pragma once

#include <cstdint>
#include <string>

#include "fovea/types.h"

namespace fovea {

struct DeviceInfo {
  Device device;
  std::string name;
  /// NVRTC's name: "sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a" …; "cpu" for a processor.
  std::string architecture;
  bool is_present = true;  // false: a description from the table, planned for but not there

  // GPUs
  int compute_capability = 0;  // 10 * major + minor
  int num_sms = 0;
  int shared_per_sm_bytes = 0;
  int shared_per_block_bytes = 0;  // the opt-in limit
  int shared_reserved_bytes = 0;   // per block, taken by the system
  int registers_per_sm = 0;
  int max_threads_per_sm = 0;
  int max_blocks_per_sm = 0;
  std::int64_t l2_bytes = 0;
  std::int64_t memory_bytes = 0;
  int clock_khz = 0;
  int memory_clock_khz = 0;
  int memory_bus_bits = 0;
  bool has_cp_async = false;  // sm_80
  bool has_bf16_mma = false;  // sm_80
  bool has_fp8_mma = false;   // sm_89
  bool has_tma = false;       // sm_90
  bool has_wgmma = false;     // sm_90a only
  bool has_tcgen05 = false;   // sm_100a family only

  // Processors
  std::string isa;      // the instruction set that kernels are chosen for
  int num_threads = 0;  // of the pool
  std::int64_t l1_bytes = 0;
  std::int64_t l3_bytes = 0;  // l2_bytes above is per core here
};

}  // namespace fovea
