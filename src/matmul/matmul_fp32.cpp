// SPDX-License-Identifier: Apache-2.0
// The card of kernels/matmul/matmul_fp32.cuh: fp32 products on any GPU, for any dtype.
#include "base/check.h"
#include "matmul/kernels.h"
#include "matmul/simple_gpu_matmul.h"

namespace fovea {
namespace {

constexpr SimpleGpuMatmul kKernel = {"matmul_fp32", "kernels/matmul/matmul_fp32.cuh", matmul_fp32_shared_bytes};
constexpr int kBlocks[][2] = {{128, 128}, {128, 64}, {64, 128}, {64, 64}};
constexpr int kWarps = 8, kBlockK = 16;

Support supports(const MatmulProblem& p, const DeviceInfo& device) {
  if (p.dtype == DType::kE4M3) return Support::no("multiplies fp32, fp16 and bf16");
  return supports_gpu_matmul(p, device);
}

/// 128 products per clock, and what reading operands from shared memory adds where tiles are small.
double clk_per_step(const MatmulConfig& c) {
  return kBlockK * (c.block_m * c.block_n / 128.0 + (c.block_m + c.block_n) / 4.0);
}

constexpr SimpleCost kCost = {.clk_per_step = clk_per_step, .block_clk = 2000, .merge_clk = 6000};

std::vector<MatmulConfig> candidates(const MatmulProblem& p, const DeviceInfo& device) {
  std::vector<MatmulConfig> configs;
  for (const auto& [block_m, block_n] : kBlocks) {
    MatmulConfig c = gpu_matmul_config(p, false);
    c.math = Math::kExact;  // one kernel for both
    c.block_m = block_m, c.block_n = block_n, c.block_k = kBlockK;
    c.stages = 2, c.warps = kWarps;
    c.blocks_per_sm = block_m * block_n < 128 * 128 ? 2 : 1;  // two of 128 x 128 would spill some registers
    configs.push_back(c);
  }
  return configs_of(simple_candidates(p, device, configs, kCost));
}

MatmulPlan prepare(Runtime& runtime, const MatmulProblem& p, const DeviceInfo& device, const MatmulConfig& c) {
  const auto need = [&](bool ok, const char* field, int got, const char* rule) {
    check(ok, ErrorCode::kInvalidArgument, "tile", "{} is {}, must be {} (matmul_fp32 on {})", field, got, rule,
          device.name);
  };
  need(c.block_m == 64 || c.block_m == 128, "block_m", c.block_m, "64 or 128");
  need(c.block_n == 64 || c.block_n == 128, "block_n", c.block_n, "64 or 128");
  need(c.block_k == kBlockK || c.block_k == 2 * kBlockK, "block_k", c.block_k, "16 or 32");
  need(c.warps == kWarps, "warps", c.warps, "8");
  need(c.stages == 2, "stages", c.stages, "2");
  need(c.cluster_m * c.cluster_n == 1, "cluster", c.cluster_m * c.cluster_n, "1 x 1");
  need(c.num_splits >= 1 && c.num_splits <= 64, "num_splits", c.num_splits, "1 to 64");
  need(!c.is_persistent, "persistent", 1, "false: a block computes one tile");
  MatmulPlan plan = prepare_simple_matmul(runtime, kKernel, device, c);
  if (p.math == Math::kFast) plan.detail += ", true fp32 although math = fast";
  return plan;
}

void run(Runtime& runtime, const MatmulPlan& plan, const MatmulProblem&, const MatmulArgs& args, Stream stream) {
  run_simple_matmul(runtime, plan, args, stream);
}

}  // namespace

const MatmulKernel matmul_fp32 = {"matmul_fp32", supports, candidates, prepare, run};

}  // namespace fovea
