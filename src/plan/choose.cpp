// SPDX-License-Identifier: Apache-2.0
#include "plan/choose.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace fovea {
namespace {

/// The caller's tile sizes laid over the best candidate that agrees with them, or over the first one.
AttentionConfig choose_config(std::vector<AttentionConfig> candidates, const AttentionTile& tile, std::string* choice) {
  if (tile == AttentionTile{}) return candidates.front();
  *choice = "the caller's tile";
  const auto agrees = [&](const AttentionConfig& c) {
    return (tile.block_q == 0 || tile.block_q == c.block_q) && (tile.block_k == 0 || tile.block_k == c.block_k) &&
           (tile.stages == 0 || tile.stages == c.stages) && (tile.warps == 0 || tile.warps == c.warps);
  };
  for (const AttentionConfig& c : candidates) {
    if (agrees(c)) return c;
  }
  AttentionConfig config = candidates.front();
  if (tile.block_q) config.block_q = tile.block_q;
  if (tile.block_k) config.block_k = tile.block_k;
  if (tile.stages) config.stages = tile.stages;
  if (tile.warps) config.warps = tile.warps;
  return config;
}

std::string names_of(std::span<const AttentionKernel* const> kernels) {
  std::string names;
  for (const AttentionKernel* kernel : kernels) names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel->name);
  return names;
}

}  // namespace

AttentionPlan choose_attention(std::span<const AttentionKernel* const> kernels, Runtime& runtime, const PlanKey& key,
                               const DeviceInfo& device) {
  std::vector<Refusal> refused;
  bool name_exists = key.kernel.empty();
  for (const AttentionKernel* kernel : kernels) {
    if (!key.kernel.empty() && kernel->name != key.kernel) {
      refused.push_back({kernel->name, fmt::format("the call asks for {}", key.kernel)});
      continue;
    }
    name_exists = true;
    if (Support support = kernel->supports(key.bucket, device); !support) {
      refused.push_back({kernel->name, std::move(support.reason)});
      continue;
    }
    std::string choice = "first candidate";
    const AttentionConfig config = choose_config(kernel->candidates(key.bucket, device), key.tile, &choice);
    AttentionPlan plan = kernel->prepare(runtime, key.bucket, device, config);
    plan.kernel = kernel;
    plan.problem = key.bucket;
    plan.refused = std::move(refused);
    plan.choice = choice;
    return plan;
  }
  check(name_exists, ErrorCode::kInvalidArgument, "kernel", "there is no kernel '{}'; there are {}", key.kernel,
        names_of(kernels));
  std::string reasons;
  for (const Refusal& r : refused) reasons += fmt::format("\n  {}: {}", r.kernel, r.reason);
  fail(ErrorCode::kUnsupported, "kernel", "no kernel does {} on {}:{}", to_string(key.bucket), device.name, reasons);
}

}  // namespace fovea
