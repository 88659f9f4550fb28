// SPDX-License-Identifier: Apache-2.0
#include "matmul/gpu_matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/math.h"
#include "cuda/occupancy.h"
#include "problem/describe_matmul.h"
#include "runtime.h"

namespace fovea {

std::string source_of(const MatmulConfig& c) {
  static constexpr const char* kTypes[] = {"kF32", "kF16", "kBF16", "kI32", "kE4M3"};
  static constexpr const char* kOrders[] = {"kRowMajor", "kColumnMajor", "kStrided"};
  static constexpr const char* kBiases[] = {"kNone", "kPerColumn", "kPerRow"};
  static constexpr const char* kActivations[] = {"kNone", "kRelu", "kGelu", "kSilu"};
  static constexpr const char* kScales[] = {"kNone", "kPerTensor", "kPerBlock"};
  static constexpr const char* kSplits[] = {"kNone", "kWorkspace", "kCluster"};
  std::string text = "MatmulConfig{";
  const auto word = [&](const char* name, const char* type, const char* value) {
    text += fmt::format("{}.{} = {}::{}", text.back() == '{' ? "" : ", ", name, type, value);
  };
  const auto number = [&](const char* name, int value, int usual) {
    if (value != usual) text += fmt::format(", .{} = {}", name, value);
  };
  word("dtype", "DType", kTypes[static_cast<int>(c.dtype)]);
  word("d_dtype", "DType", kTypes[static_cast<int>(c.d_dtype)]);
  if (c.has_c) word("c_dtype", "DType", kTypes[static_cast<int>(c.c_dtype)]);
  if (c.bias != BiasKind::kNone) word("bias_dtype", "DType", kTypes[static_cast<int>(c.bias_dtype)]);
  if (c.math == Math::kFast) word("math", "Math", "kFast");
  if (c.scale != ScaleKind::kNone) word("scale", "ScaleKind", kScales[static_cast<int>(c.scale)]);
  if (c.scale == ScaleKind::kPerBlock) {
    number("a_scale_lines", c.a_scale_lines, 1);
    number("b_scale_lines", c.b_scale_lines, kScaleBlock);
  }
  word("a_order", "MatrixOrder", kOrders[static_cast<int>(c.a_order)]);
  word("b_order", "MatrixOrder", kOrders[static_cast<int>(c.b_order)]);
  word("d_order", "MatrixOrder", kOrders[static_cast<int>(c.d_order)]);
  if (c.has_batch) text += ", .has_batch = true";
  if (c.has_c) text += ", .has_c = true";
  if (c.bias != BiasKind::kNone) word("bias", "BiasKind", kBiases[static_cast<int>(c.bias)]);
  if (c.activation != Activation::kNone) word("activation", "Activation", kActivations[static_cast<int>(c.activation)]);
  number("block_m", c.block_m, 0);
  number("block_n", c.block_n, 0);
  number("block_k", c.block_k, 0);
  number("stages", c.stages, 0);
  number("warps", c.warps, 0);
  number("warps_m", c.warps_m, 0);
  number("cluster_m", c.cluster_m, 1);
  number("cluster_n", c.cluster_n, 1);
  if (c.split != SplitKind::kNone) word("split", "SplitKind", kSplits[static_cast<int>(c.split)]);
  if (c.split == SplitKind::kCluster) number("num_splits", c.num_splits, 1);
  if (c.shares_tiles) text += ", .shares_tiles = true";
  number("blocks_per_sm", c.blocks_per_sm, 0);
  number("a_copy_bytes", c.a_copy_bytes, 0);
  number("b_copy_bytes", c.b_copy_bytes, 0);
  number("d_copy_bytes", c.d_copy_bytes, 0);
  return text + "}";
}

Support supports_gpu_matmul(const MatmulProblem&, const DeviceInfo& device) {
  if (device.device.kind != DeviceKind::kCUDA) return Support::no("runs on an NVIDIA GPU; the tensors are on a CPU");
  if (device.compute_capability < 75) {
    return Support::no(fmt::format("needs compute capability 7.5; the GPU has {}.{}", device.compute_capability / 10,
                                   device.compute_capability % 10));
  }
  return Support::yes();
}

MatmulConfig gpu_matmul_config(const MatmulProblem& problem, bool swaps_ab) {
  const MatmulProblem p = swaps_ab ? transposed(problem) : problem;
  MatmulConfig c;
  c.dtype = p.dtype;
  c.d_dtype = p.d_dtype;
  c.c_dtype = p.has_c ? p.c_dtype : c.c_dtype;
  c.bias_dtype = p.has_bias ? p.bias_dtype : c.bias_dtype;
  c.math = p.math;
  c.scale = p.scale;
  if (swaps_ab) std::swap(c.a_scale_lines, c.b_scale_lines);
  c.a_order = p.a_order;
  c.b_order = p.b_order;
  c.d_order = p.d_order;
  c.has_batch = p.batch > 1;
  c.has_c = p.has_c;
  c.bias = !p.has_bias ? BiasKind::kNone : swaps_ab ? BiasKind::kPerRow : BiasKind::kPerColumn;
  c.activation = p.activation;
  c.swaps_ab = swaps_ab;
  c.a_copy_bytes = std::min(p.a_alignment_bytes, 16);
  c.b_copy_bytes = std::min(p.b_alignment_bytes, 16);
  c.d_copy_bytes = std::min(p.d_alignment_bytes, 16);
  return c;
}

PreparedMatmul prepare_gpu_matmul(Runtime& runtime, const DeviceInfo& device, const jit::Unit& unit,
                                  const MatmulConfig& config, int shared_bytes) {
  check(
      shared_bytes <= device.shared_per_block_bytes, ErrorCode::kInvalidArgument, "tile",
      "a tile of {} x {} x {} with {} stages takes {} bytes of shared memory, {} has {} per block; use smaller blocks "
      "or fewer stages",
      config.block_m, config.block_n, config.block_k, config.stages, shared_bytes, device.name,
      device.shared_per_block_bytes);
  const auto compiled = runtime.impl().compiler.compile(unit, device.architecture);
  PreparedMatmul prepared;
  MatmulPlan& plan = prepared.plan;
  plan.config = config;
  const int registers = compiled->resources.registers_per_thread;
  plan.launch = {unit.threads, shared_bytes, registers,
                 cuda::occupancy(device, {unit.threads, registers, shared_bytes}).blocks_per_sm,
                 static_cast<std::int64_t>(compiled->cubin.size())};
  if (device.is_present) {
    prepared.loaded = runtime.impl().load(device.device, *compiled, shared_bytes);
  }
  return prepared;
}

int group_of_tiles(int tiles_m, int tiles_n, int block_m, int block_n, int slots) {
  const std::int64_t running = std::min<std::int64_t>(slots, std::int64_t{tiles_m} * tiles_n);
  const auto up = [](std::int64_t x, std::int64_t unit) { return (x + unit - 1) / unit; };
  int best = 1;
  std::int64_t least = 0;
  for (int group = 1; group < 2 * tiles_m && group <= running; group *= 2) {
    // Tiles that a group has no columns for run in the groups below it.
    const std::int64_t rows = std::min<std::int64_t>(up(running, std::int64_t{group} * tiles_n) * group, tiles_m);
    const std::int64_t columns = std::min<std::int64_t>(up(running, group), tiles_n);
    const std::int64_t read = rows * block_m + columns * block_n;
    if (group == 1 || read < least) best = group, least = read;
  }
  return std::min(best, tiles_m);
}

}  // namespace fovea
