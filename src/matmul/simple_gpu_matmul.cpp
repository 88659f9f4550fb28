// SPDX-License-Identifier: Apache-2.0
#include "matmul/simple_gpu_matmul.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/math.h"
#include "contract/matmul_tiles.h"
#include "cuda/launch.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr int kMergeThreads = 256;
constexpr int kMaxSplits = 16;

struct LoadedSimple {
  std::shared_ptr<const cuda::Kernel> product;
  std::shared_ptr<const cuda::Kernel> merge;  // only if k is split
};

jit::Unit unit_of(std::string_view name, std::string_view header, const MatmulConfig& config, int threads, int blocks) {
  jit::Unit unit;
  unit.entry = name;
  unit.header = header;
  unit.config = source_of(config);
  unit.parameters = "const __grid_constant__ MatmulArgs args";
  unit.body = fmt::format("{}<config>(args);", name);
  unit.threads = threads;
  unit.min_blocks_per_sm = blocks;
  return unit;
}

/// What the merge needs of a config: the epilogue alone, so that all tiles share one compiled kernel.
MatmulConfig merge_config(const MatmulConfig& c) {
  MatmulConfig m;
  m.dtype = c.dtype, m.d_dtype = c.d_dtype, m.c_dtype = c.c_dtype, m.bias_dtype = c.bias_dtype;
  m.d_order = c.d_order, m.has_c = c.has_c, m.bias = c.bias, m.activation = c.activation;
  m.d_copy_bytes = c.d_copy_bytes;
  return m;
}

MatmulSchedule schedule_of(const MatmulArgs& args, const MatmulConfig& c) {
  MatmulSchedule s;
  const int tiles_m = ceil_div(args.m, c.block_m), tiles_n = ceil_div(args.n, c.block_n);
  // Two blocks of every SM of a large GPU; which of them run together is the hardware's choice.
  set_tiles(s, tiles_m, tiles_n, group_of_tiles(tiles_m, tiles_n, c.block_m, c.block_n, 256));
  if (c.split == SplitKind::kWorkspace) {
    const int steps = (args.k + c.block_k - 1) / c.block_k;
    s.num_splits = std::max(1, std::min(c.num_splits, steps));
    const int unit = c.dtype == DType::kE4M3 ? std::max(kScaleBlock, c.block_k) : c.block_k;
    s.k_per_split = static_cast<int>(round_up((steps + s.num_splits - 1) / s.num_splits * c.block_k, unit));
  }
  s.num_tiles = Int64{s.tiles_m} * s.tiles_n * args.batch;
  return s;
}

}  // namespace

std::int64_t tiles_of(const MatmulProblem& p, const MatmulConfig& c) {
  return (std::int64_t{p.m} + c.block_m - 1) / c.block_m * ((std::int64_t{p.n} + c.block_n - 1) / c.block_n) * p.batch;
}

std::vector<SimpleCandidate> cheapest_first(std::vector<SimpleCandidate> all) {
  std::stable_sort(all.begin(), all.end(),
                   [](const SimpleCandidate& a, const SimpleCandidate& b) { return a.clk < b.clk; });
  return all;
}

MatmulConfig with_splits(const MatmulConfig& config, int splits) {
  MatmulConfig c = config;
  c.num_splits = splits;
  c.split = splits > 1 ? SplitKind::kWorkspace : SplitKind::kNone;
  return c;
}

std::vector<SimpleCandidate> simple_candidates(const MatmulProblem& p, const DeviceInfo& device,
                                               std::span<const MatmulConfig> configs, const SimpleCost& cost) {
  std::vector<SimpleCandidate> all;
  const double sms = std::max(device.num_sms, 1);
  for (const MatmulConfig& config : configs) {
    for (int splits = 1; splits <= kMaxSplits; splits *= 2) {
      const auto tiles = static_cast<double>(tiles_of(p, config));
      const double steps = std::ceil(static_cast<double>(p.k) / config.block_k / splits);
      if (splits > 1 && (tiles * splits / 2 > sms || steps < cost.min_steps)) break;
      const MatmulConfig c = with_splits(config, splits);
      const double waves = tiles * splits / sms;
      double clk = std::max(1.0, waves) * (steps * cost.clk_per_step(c) + cost.block_clk);
      if (splits > 1) {
        const double elements = static_cast<double>(p.m) * p.n * p.batch;
        clk += cost.merge_clk + cost.merge_element_clk * splits * elements / sms;
      }
      all.push_back({c, clk});
    }
  }
  return cheapest_first(std::move(all));
}

std::vector<MatmulConfig> configs_of(std::span<const SimpleCandidate> candidates) {
  std::vector<MatmulConfig> configs;
  configs.reserve(candidates.size());
  for (const SimpleCandidate& c : candidates) configs.push_back(c.config);
  return configs;
}

MatmulPlan prepare_simple_matmul(Runtime& runtime, const SimpleGpuMatmul& kernel, const DeviceInfo& device,
                                 const MatmulConfig& wanted) {
  MatmulConfig c = wanted;
  c.split = c.num_splits > 1 ? SplitKind::kWorkspace : SplitKind::kNone;
  const jit::Unit unit = unit_of(kernel.name, kernel.header, c, 32 * c.warps, std::max(c.blocks_per_sm, 1));
  PreparedMatmul prepared = prepare_gpu_matmul(runtime, device, unit, c, kernel.shared_bytes(c));
  auto loaded = std::make_shared<LoadedSimple>();
  loaded->product = prepared.loaded;
  if (c.split == SplitKind::kWorkspace) {
    const jit::Unit merge = unit_of("matmul_merge", "kernels/matmul/merge.cuh", merge_config(c), kMergeThreads, 1);
    loaded->merge = prepare_gpu_matmul(runtime, device, merge, c, 0).loaded;
  }
  prepared.plan.detail = fmt::format("{} x {} x {}, {} stages, {} warps{}", c.block_m, c.block_n, c.block_k, c.stages,
                                     c.warps, c.num_splits > 1 ? fmt::format(", k in {} parts", c.num_splits) : "");
  prepared.plan.state = std::move(loaded);
  return std::move(prepared.plan);
}

void run_simple_matmul(Runtime& runtime, const MatmulPlan& plan, const MatmulArgs& user_args, Stream stream) {
  constexpr Int64 kMaxGrid = (Int64{1} << 31) - 1;
  const auto& loaded = *static_cast<const LoadedSimple*>(plan.state.get());
  MatmulArgs args = user_args;
  if (args.m == 0 || args.n == 0 || args.batch == 0) return;
  args.schedule = schedule_of(args, plan.config);
  const cuda::LaunchConfig grid = {.blocks = args.schedule.num_tiles * args.schedule.num_splits,
                                   .threads = plan.launch.threads_per_block,
                                   .shared_bytes = plan.launch.shared_bytes};
  check(grid.blocks <= kMaxGrid, ErrorCode::kUnsupported, "d",
        "the call needs {} blocks, a launch has at most {}; split the batch", grid.blocks, kMaxGrid);
  if (plan.config.split == SplitKind::kNone) {
    cuda::launch(*loaded.product, grid, stream, args);
    return;
  }
  const Int64 rows = Int64{args.batch} * args.m;
  const cuda::WorkspaceLease workspace = runtime.impl().workspaces.acquire(
      loaded.product->device, stream,
      sizeof(float) * static_cast<std::size_t>(args.schedule.num_splits * rows * args.n));
  args.schedule.partial = static_cast<float*>(workspace.data());
  cuda::launch(*loaded.product, grid, stream, args);
  const Int64 fours = rows * ((args.n + 3) / 4);
  cuda::launch(*loaded.merge, {.blocks = (fours + kMergeThreads - 1) / kMergeThreads, .threads = kMergeThreads}, stream,
               args);
}

}  // namespace fovea
