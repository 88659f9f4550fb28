// SPDX-License-Identifier: Apache-2.0
// prebuild_attention: every kernel of the catalogue, compiled ahead.

#include "attention/catalogue.h"
#include "attention/kernels.h"
#include "base/check.h"
#include "cuda/architectures.h"
#include "fovea/kernel_cache.h"
#include "plan/choose.h"
#include "runtime.h"

namespace fovea {
namespace {

/// True if some card takes this problem on this device: choosing would throw otherwise.
bool is_supported(const AttentionProblem& problem, const DeviceInfo& device) {
  for (const AttentionKernel* kernel : attention_kernels()) {
    if (kernel->supports(problem, device)) return true;
  }
  return false;
}

}  // namespace

std::vector<CachedKernel> prebuild_attention(Runtime& runtime, const std::vector<std::string>& architectures,
                                             const std::string& folder) {
  check(!folder.empty(), ErrorCode::kInvalidArgument, "folder", "folder is empty, must name where the kernels go");
  std::vector<DeviceInfo> devices;
  devices.reserve(architectures.size());
  for (const std::string& name : architectures) devices.push_back(cuda::require_architecture(name));
  // A runtime of its own: what the caller's holds in memory it would not compile, and so not export, again.
  const Settings& settings = runtime.impl().settings;
  Runtime ahead({.num_threads = 1, .cpu_isa = {}, .cache_dir = settings.cache_dir, .kernel_dir = settings.kernel_dir});
  jit::Compiler& compiler = ahead.impl().compiler;
  compiler.export_to(folder);
  for (const DeviceInfo& device : devices) {
    for (const AttentionProblem& problem : attention_catalogue()) {
      if (!is_supported(problem, device)) continue;
      choose_plan<AttentionOperation>(attention_kernels(), ahead, {bucket_of(problem), {}, {}}, device);
    }
  }
  std::vector<CachedKernel> kernels;
  for (const auto& k : compiler.compiled()) {
    kernels.push_back({jit::DiskCache(folder).path_of(k->key),
                       k->entry,
                       k->architecture,
                       k->config,
                       k->nvrtc,
                       k->resources.registers_per_thread,
                       static_cast<std::int64_t>(k->cubin.size()),
                       0,
                       {}});
  }
  return kernels;
}

}  // namespace fovea
