// SPDX-License-Identifier: Apache-2.0
// The card of kernels/attention/forward_fp32.cuh: true fp32 on every GPU. Math::kFast takes the exact path too.
#include <algorithm>

#include "attention/gpu_forward.h"
#include "attention/kernels.h"
#include "base/check.h"
#include "base/math.h"

namespace fovea {
namespace {

constexpr int kTile = 64;

constexpr GpuForward kKernel = {"attention_forward_fp32", "kernels/attention/forward_fp32.cuh", "forward_fp32",
                                [](const AttentionConfig&) { return forward_fp32_shared_bytes(); }};

Support supports(const AttentionProblem& problem, const DeviceInfo& device) {
  if (Support common = supports_gpu_forward(problem, device); !common) return common;
  if (problem.dtype != DType::kF32) return Support::no("takes fp32; 16-bit types run on tensor cores");
  return Support::yes();
}

std::vector<AttentionConfig> candidates(const AttentionProblem& problem, const DeviceInfo& device) {
  AttentionConfig config = gpu_config(problem);
  config.head_dim_qk = static_cast<int>(round_up(problem.head_dim_qk, kTile));
  config.head_dim_v = static_cast<int>(round_up(std::max(problem.head_dim_v, 1), kTile));
  config.block_q = config.block_k = config.step_k = kTile;
  config.stages = 1;
  config.warps = 8;
  config.blocks_per_sm = config.head_dim_v <= 128 && device.max_threads_per_sm >= 512 ? 2 : 1;
  config.copy_bytes = config.copy_bytes == 16 ? 16 : 4;
  config.packs_heads = wants_packed_heads(problem, kTile);
  config.is_split = wants_split(problem, device, config);
  return {config};
}

AttentionPlan prepare(Runtime& runtime, const AttentionProblem&, const DeviceInfo& device,
                      const AttentionConfig& config) {
  check(config.block_q == kTile && config.block_k == kTile && config.stages == 1 && config.warps == 8,
        ErrorCode::kInvalidArgument, "tile",
        "tile is {} x {}, {} stages, {} warps; attention_forward_fp32 has 64 x 64, 1 stage, 8 warps only",
        config.block_q, config.block_k, config.stages, config.warps);
  return prepare_gpu_forward(runtime, kKernel, device, config);
}

}  // namespace

const AttentionKernel attention_forward_fp32 = {kKernel.name, supports, candidates, prepare, run_gpu_forward};

}  // namespace fovea
