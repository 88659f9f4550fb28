// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "fovea/kernel_cache.h"
#include "jit/cache.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr double kSecondsPerDay = 86400;

CachedKernel describe(const jit::CacheFile& file) {
  const auto word = [&](const char* name) {
    const auto found = file.metadata.find(name);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  CachedKernel kernel = {file.path, word("entry"), word("architecture"), word("config"), word("nvrtc"),
                         0,         file.bytes,    file.age_seconds,     file.fault};
  const std::string registers = word("registers");
  std::from_chars(registers.data(), registers.data() + registers.size(), kernel.registers_per_thread);
  return kernel;
}

CacheChange describe(const jit::PruneResult& r) { return {r.removed, r.removed_bytes, r.kept, r.kept_bytes}; }

}  // namespace

std::vector<CachedKernel> list_kernel_cache(Runtime& runtime) {
  std::vector<CachedKernel> kernels;
  for (const jit::CacheFile& file : jit::list_cache(runtime.impl().compiler.cache_folder()))
    kernels.push_back(describe(file));
  return kernels;
}

CacheChange prune_kernel_cache(Runtime& runtime, std::optional<std::int64_t> max_bytes,
                               std::optional<double> max_age_days) {
  jit::PruneLimits limits = {max_bytes, {}};
  if (max_age_days) limits.max_age_seconds = *max_age_days * kSecondsPerDay;
  return describe(jit::prune_cache(runtime.impl().compiler.cache_folder(), limits));
}

CacheChange clear_kernel_cache(Runtime& runtime) {
  return describe(jit::clear_cache(runtime.impl().compiler.cache_folder()));
}

}  // namespace fovea
