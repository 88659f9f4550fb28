// SPDX-License-Identifier: Apache-2.0
#include "runtime_gpus.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <vector>

namespace fovea {
namespace {

std::vector<std::string> features_of(const DeviceInfo& d) {
  std::vector<std::string> features;
  const auto add = [&](bool has, const char* name) {
    if (has) features.emplace_back(name);
  };
  add(d.has_cp_async, "cp.async");
  add(d.has_bf16_mma, "bf16");
  add(d.has_fp8_mma, "fp8");
  add(d.has_tma, "tma");
  add(d.has_wgmma, "wgmma");
  add(d.has_tcgen05, "tcgen05");
  return features;
}

/// Two transfers per clock of the memory's bus.
double bandwidth_tb_per_s(const DeviceInfo& d) { return 2.0 * d.memory_clock_khz * d.memory_bus_bits / 8 / 1e9; }

struct CacheSize {
  int entries = 0;
  std::int64_t bytes = 0;
};

CacheSize size_of(const std::string& folder) {
  CacheSize size;
  for (const jit::CacheFile& file : jit::list_cache(folder)) {
    ++size.entries;
    size.bytes += file.bytes;
  }
  return size;
}

}  // namespace

std::string gpus_text(Runtime::Impl& runtime) {
  const cuda::Driver& driver = runtime.devices.driver();
  std::string text = "\ngpus\n";
  if (!driver.present()) text += fmt::format("  none           {}\n", driver.absence);
  for (int i = 0; i < runtime.devices.count(); ++i) {
    const DeviceInfo& d = runtime.devices.info(i);
    text += fmt::format("  {:<14} {} ({}), {} SMs at {} MHz, {} MiB L2, {:.0f} GiB at {:.1f} TB/s\n",
                        fmt::format("GPU {}", i), d.name, d.architecture, d.num_sms, d.clock_khz / 1000,
                        d.l2_bytes >> 20, static_cast<double>(d.memory_bytes) / (1 << 30), bandwidth_tb_per_s(d));
    text += fmt::format("  {:<14} {} KiB shared memory per block, {} per SM; {}\n", "", d.shared_per_block_bytes >> 10,
                        d.shared_per_sm_bytes >> 10, fmt::join(features_of(d), " "));
  }
  if (driver.present())
    text += fmt::format("  driver         knows CUDA {}.{}\n", driver.version / 1000, driver.version % 1000 / 10);
  const jit::Nvrtc& nvrtc = runtime.compiler.nvrtc();
  text += fmt::format("  nvrtc          {}\n",
                      nvrtc.present() ? nvrtc.version() + " (" + nvrtc.library() + ")" : nvrtc.absence());
  const CacheSize cache = size_of(runtime.compiler.cache_folder());
  text += fmt::format("  kernels        {} compiled, {:.1f} MiB in {}\n", cache.entries,
                      static_cast<double>(cache.bytes) / (1 << 20), runtime.compiler.cache_folder());
  if (const std::string prebuilt = runtime.compiler.prebuilt_folder(); !prebuilt.empty()) {
    text += fmt::format("  prebuilt       {} kernels in {}\n", size_of(prebuilt).entries, prebuilt);
  }
  return text;
}

void add_gpus_json(nlohmann::ordered_json& info, Runtime::Impl& runtime) {
  const cuda::Driver& driver = runtime.devices.driver();
  info["driver"] = {{"present", driver.present()}, {"absence", driver.absence}, {"cuda_version", driver.version}};
  info["gpus"] = nlohmann::ordered_json::array();
  for (int i = 0; i < runtime.devices.count(); ++i) {
    const DeviceInfo& d = runtime.devices.info(i);
    info["gpus"].push_back({{"name", d.name},
                            {"architecture", d.architecture},
                            {"sms", d.num_sms},
                            {"clock_khz", d.clock_khz},
                            {"l2_bytes", d.l2_bytes},
                            {"memory_bytes", d.memory_bytes},
                            {"memory_tb_per_s", bandwidth_tb_per_s(d)},
                            {"shared_per_block_bytes", d.shared_per_block_bytes},
                            {"shared_per_sm_bytes", d.shared_per_sm_bytes},
                            {"features", features_of(d)}});
  }
  const jit::Nvrtc& nvrtc = runtime.compiler.nvrtc();
  info["nvrtc"] = {{"present", nvrtc.present()}, {"absence", nvrtc.absence()}};
  if (nvrtc.present()) {
    info["nvrtc"]["version"] = nvrtc.version();
    info["nvrtc"]["library"] = nvrtc.library();
  }
  const CacheSize cache = size_of(runtime.compiler.cache_folder());
  info["kernel_cache"] = {
      {"folder", runtime.compiler.cache_folder()}, {"entries", cache.entries}, {"bytes", cache.bytes}};
}

}  // namespace fovea
