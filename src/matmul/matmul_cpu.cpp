// SPDX-License-Identifier: Apache-2.0
// The card of the CPU kernels: src/cpu/kernels, one unit per instruction set, behind one table of functions each.
#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "cpu/isa.h"
#include "matmul/cpu_configs.h"
#include "matmul/cpu_schedule.h"
#include "matmul/kernels.h"
#include "problem/describe_matmul.h"
#include "runtime.h"

namespace fovea {
namespace {

// Blocks of k beyond this are mistakes: the scratch of a thread grows with them.
constexpr int kMaxBlockK = 1 << 16;
constexpr int kMaxBlock = 1 << 30;

const cpu::MatmulKernels& kernels_for(const DeviceInfo& device, DType dtype) {
  return cpu::unit_named(device.isa).matmul_kernels(dtype);
}

Support supports(const MatmulProblem&, const DeviceInfo& device) {
  if (device.device.kind != DeviceKind::kCPU) return Support::no("runs on a CPU; the tensors are on a GPU");
  return Support::yes();
}

/// Configs speak of the caller's product: block_m counts rows of d, whichever way it is computed.
MatmulConfig exchanged(MatmulConfig config) {
  std::swap(config.block_m, config.block_n);
  std::swap(config.packs_a, config.packs_b);
  return config;
}

std::vector<MatmulConfig> candidates(const MatmulProblem& problem, const DeviceInfo& device) {
  const cpu::MatmulKernels& kernels = kernels_for(device, problem.dtype);
  const bool swaps = wants_transposed(problem);
  std::vector<MatmulConfig> found = cpu_matmul_configs(kernels, swaps ? transposed(problem) : problem, device);
  for (MatmulConfig& c : found) {
    c.swaps_ab = swaps;
    if (swaps) c = exchanged(c);
  }
  return found;
}

void check_block(const char* field, int size, int most) {
  check(size >= 1 && size <= most, ErrorCode::kInvalidArgument, "tile",
        "tile.{} is {}, must be 1 to {} on a processor; 0 for all three leaves them to the library", field, size, most);
}

/// Blocks of whole register tiles.
MatmulConfig rounded(const MatmulConfig& config, const cpu::MatmulKernels& kernels) {
  MatmulConfig c = config;
  const int m = c.swaps_ab ? kernels.tile_columns : kernels.tile_rows;
  const int n = c.swaps_ab ? kernels.tile_rows : kernels.tile_columns;
  c.block_m = static_cast<int>(round_up(c.block_m, m));
  c.block_n = static_cast<int>(round_up(c.block_n, n));
  c.block_k = static_cast<int>(round_up(c.block_k, kernels.depth));
  return c;
}

MatmulPlan prepare(Runtime&, const MatmulProblem& problem, const DeviceInfo& device, const MatmulConfig& config) {
  const cpu::MatmulKernels& kernels = kernels_for(device, problem.dtype);
  check_block("block_m", config.block_m, kMaxBlock);
  check_block("block_n", config.block_n, kMaxBlock);
  check_block("block_k", config.block_k, kMaxBlockK);
  check(config.scale != ScaleKind::kPerBlock || config.block_k == kScaleBlock, ErrorCode::kInvalidArgument, "tile",
        "tile.block_k is {}, must be {} where scales are per block: they change there", config.block_k, kScaleBlock);
  check(config.stages == 0 && config.warps == 0 && config.cluster_m <= 1 && config.cluster_n <= 1 &&
            config.num_splits <= 1,
        ErrorCode::kInvalidArgument, "tile",
        "tile has stages = {}, warps = {}, cluster {} x {}, num_splits = {}; a CPU has none of these", config.stages,
        config.warps, config.cluster_m, config.cluster_n, config.num_splits);
  MatmulPlan plan;
  plan.config = rounded(config, kernels);
  plan.state = std::shared_ptr<const void>(std::shared_ptr<const void>(), &kernels);  // the table lives for ever
  plan.detail = fmt::format("{}, {} in {} x {} register tiles, {}{}{} thread{}{}", kernels.isa, kernels.products,
                            kernels.tile_rows, kernels.tile_columns, config.swaps_ab ? "d transposed, " : "",
                            config.packs_a || config.packs_b ? "" : "not packed, ", device.num_threads,
                            device.num_threads == 1 ? "" : "s",
                            config.math == Math::kFast ? ", true fp32 although math = fast" : "");
  return plan;
}

/// Scales of whole operands are a part of alpha.
MatmulArgs with_scaled_alpha(const MatmulArgs& given) {
  MatmulArgs args = given;
  for (const ScaleArgs* scale : {&given.a_scale, &given.b_scale}) {
    if (scale->data) args.alpha *= *scale->data;
  }
  return args;
}

void run_unscaled(Runtime& runtime, const MatmulPlan& plan, const MatmulArgs& args) {
  const auto& kernels = *static_cast<const cpu::MatmulKernels*>(plan.state.get());
  if (!plan.config.swaps_ab) {
    run_cpu_matmul(runtime.impl().pool, kernels, args, plan.config);
    return;
  }
  MatmulConfig config = exchanged(plan.config);
  std::swap(config.a_scale_lines, config.b_scale_lines);
  if (config.bias == BiasKind::kPerColumn) config.bias = BiasKind::kPerRow;
  run_cpu_matmul(runtime.impl().pool, kernels, transposed(args), config);
}

void run(Runtime& runtime, const MatmulPlan& plan, const MatmulProblem&, const MatmulArgs& args, Stream) {
  const bool is_scaled = plan.config.scale == ScaleKind::kPerTensor;
  if (!is_scaled) return run_unscaled(runtime, plan, args);
  run_unscaled(runtime, plan, with_scaled_alpha(args));
}

}  // namespace

const MatmulKernel matmul_cpu = {"matmul_cpu", supports, candidates, prepare, run};

}  // namespace fovea
