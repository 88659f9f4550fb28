// SPDX-License-Identifier: Apache-2.0
#include "cuda/architectures.h"

#include <vector>

#include "base/check.h"

namespace fovea::cuda {
namespace {

struct Architecture {
  int compute_capability;
  const char* board;
  int num_sms;
  int shared_per_sm_kib;
  int shared_per_block_kib;
  int shared_reserved_bytes;
  int max_threads_per_sm;
  int max_blocks_per_sm;
  int l2_mib;
  int memory_gib;
  int clock_mhz;
  int memory_clock_mhz;
  int memory_bus_bits;
};

constexpr Architecture kArchitectures[] = {
    {75, "Tesla T4", 40, 64, 64, 0, 1024, 16, 4, 16, 1590, 5001, 256},
    {80, "A100", 108, 164, 163, 1024, 2048, 32, 40, 80, 1410, 1593, 5120},
    {86, "GeForce RTX 3090", 82, 100, 99, 1024, 1536, 16, 6, 24, 1695, 9751, 384},
    {87, "Jetson AGX Orin", 16, 164, 163, 1024, 1536, 16, 4, 64, 1300, 3200, 256},
    {89, "GeForce RTX 4090", 128, 100, 99, 1024, 1536, 24, 72, 24, 2520, 10501, 384},
    {90, "H200", 132, 228, 227, 1024, 2048, 32, 60, 141, 1980, 3201, 6144},
    {100, "B200", 148, 228, 227, 1024, 2048, 32, 126, 180, 1965, 3996, 8192},
    {103, "B300", 148, 228, 227, 1024, 2048, 32, 126, 270, 1920, 3996, 8192},
    {120, "GeForce RTX 5090", 170, 100, 99, 1024, 1536, 24, 96, 32, 2407, 14001, 512},
    {121, "GB10", 48, 100, 99, 1024, 1536, 24, 24, 128, 2418, 4266, 256},
};

DeviceInfo describe(const Architecture& a) {
  DeviceInfo info;
  info.device = {DeviceKind::kCUDA, 0};
  info.name = a.board;
  info.architecture = architecture_name(a.compute_capability);
  info.is_present = false;
  info.compute_capability = a.compute_capability;
  info.num_sms = a.num_sms;
  info.shared_per_sm_bytes = a.shared_per_sm_kib * 1024;
  info.shared_per_block_bytes = a.shared_per_block_kib * 1024;
  info.shared_reserved_bytes = a.shared_reserved_bytes;
  info.registers_per_sm = 65536;
  info.max_threads_per_sm = a.max_threads_per_sm;
  info.max_blocks_per_sm = a.max_blocks_per_sm;
  info.l2_bytes = static_cast<std::int64_t>(a.l2_mib) << 20;
  info.memory_bytes = static_cast<std::int64_t>(a.memory_gib) << 30;
  info.clock_khz = a.clock_mhz * 1000;
  info.memory_clock_khz = a.memory_clock_mhz * 1000;
  info.memory_bus_bits = a.memory_bus_bits;
  set_features(info);
  return info;
}

}  // namespace

std::span<const DeviceInfo> known_architectures() {
  static const std::vector<DeviceInfo> all = [] {
    std::vector<DeviceInfo> infos;
    for (const Architecture& a : kArchitectures) infos.push_back(describe(a));
    return infos;
  }();
  return all;
}

std::optional<DeviceInfo> known_architecture(std::string_view name) {
  for (const DeviceInfo& info : known_architectures()) {
    if (name == info.architecture || name == fmt::format("sm_{}", info.compute_capability)) return info;
  }
  return std::nullopt;
}

DeviceInfo require_architecture(std::string_view name) {
  if (std::optional<DeviceInfo> info = known_architecture(name)) return *info;
  std::string names;
  for (const DeviceInfo& info : known_architectures()) names += (names.empty() ? "" : ", ") + info.architecture;
  fail(ErrorCode::kInvalidArgument, "arch", "arch is '{}', must be cpu or one of {}", name, names);
}

std::string architecture_name(int compute_capability) {
  // From 9.0 on, the instructions of one generation only (wgmma, tcgen05) need the letter.
  return fmt::format("sm_{}{}", compute_capability, compute_capability >= 90 ? "a" : "");
}

void set_features(DeviceInfo& info) {
  const int cc = info.compute_capability;
  info.has_cp_async = cc >= 80;
  info.has_bf16_mma = cc >= 80;
  info.has_fp8_mma = cc >= 89;
  info.has_tma = cc >= 90;
  info.has_wgmma = cc == 90;                 // Blackwell has none
  info.has_tcgen05 = cc >= 100 && cc < 120;  // consumer Blackwell has none
}

}  // namespace fovea::cuda
