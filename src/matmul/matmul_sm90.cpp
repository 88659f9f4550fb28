// SPDX-License-Identifier: Apache-2.0
// The card of kernels/matmul/matmul_sm90.cuh: fp16, bf16, e4m3 and TF32 on Hopper, operands through the copy engine.
#include "contract/matmul_sm90.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "contract/matmul_tiles.h"
#include "cuda/launch.h"
#include "cuda/tensor_map.h"
#include "matmul/gpu_matmul.h"
#include "matmul/kernels.h"
#include "matmul/matmul_sm80_cost.h"
#include "matmul/matmul_sm90_cost.h"
#include "matmul/operand_copies.h"
#include "problem/describe_matmul.h"
#include "runtime.h"

namespace fovea {
namespace {

struct LoadedSm90 {
  std::shared_ptr<const cuda::Kernel> kernel;
  std::shared_ptr<const cuda::Kernel> copy;  // of operands that the copy engine cannot read, if there are any
  CopiedOperands copied;
  int slots = 0;  // clusters that run at the same time
};

Support supports(const MatmulProblem& p, const DeviceInfo& device) {
  if (Support s = supports_gpu_matmul(p, device); !s) return s;
  if (!device.has_wgmma) return Support::no("needs wgmma, which is in compute capability 9.0 only");
  if (p.dtype == DType::kF32 && p.math != Math::kFast) return Support::no("multiplies fp32 as TF32, with math = fast");
  if (p.k == 0) return Support::no("needs k of at least 1");
  if (const std::string illegal = copies_illegal(p); !illegal.empty()) return Support::no(illegal);
  return Support::yes();
}

std::vector<MatmulConfig> candidates(const MatmulProblem& p, const DeviceInfo& device) {
  const CopiedOperands copied = copied_operands(p);
  std::vector<MatmulConfig> configs = sm90_candidates(with_copies(p), device);
  for (MatmulConfig& c : configs) c.packs_a = copied.a.is_copied, c.packs_b = copied.b.is_copied;
  return configs;
}

/// Small products take less time where operands lie, element by element if need be, than with a second launch.
Support pays(const MatmulProblem& p, const DeviceInfo& device) {
  if (!copied_operands(p).any()) return Support::yes();
  const MatmulProblem copied = with_copies(p);
  const double copying_us = copies_us(p);
  const double us = copying_us + sm90_cost_us(copied, sm90_candidates(copied, device).front(), device);
  const double direct_us = sm80_cost_us(p, device);
  if (us <= direct_us) return Support::yes();
  return Support::no(fmt::format(
      "{:.1f} us are expected, {:.1f} of them to copy operands that the copy engine cannot read; {:.1f} without it", us,
      copying_us, direct_us));
}

MatmulPlan prepare(Runtime& runtime, const MatmulProblem& problem, const DeviceInfo& device,
                   const MatmulConfig& wanted) {
  const CopiedOperands copied = copied_operands(problem);
  MatmulConfig c = sm90_fitted(wanted);
  c.packs_a = copied.a.is_copied, c.packs_b = copied.b.is_copied;
  c.shares_tiles = c.is_persistent && sm90_shares_tiles(with_copies(problem), c, device);
  const std::string illegal = sm90_illegal(c);
  check(illegal.empty(), ErrorCode::kInvalidArgument, "tile", "{} (matmul_sm90 on {})", illegal, device.name);
  jit::Unit unit;
  unit.entry = "matmul_sm90";
  unit.header = "kernels/matmul/matmul_sm90.cuh";
  unit.config = source_of(c);
  unit.parameters =
      "const __grid_constant__ MatmulArgs args, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap "
      "b, const __grid_constant__ TensorMap d";
  unit.body = "matmul_sm90<config>(args, a, b, d);";
  unit.threads = 128 + 32 * c.warps;
  PreparedMatmul prepared = prepare_gpu_matmul(runtime, device, unit, c, matmul_sm90_layout(c).total_bytes);
  auto loaded = std::make_shared<LoadedSm90>();
  loaded->slots = sm90_slots(c, device.num_sms);
  if (prepared.loaded) {
    const int cluster = c.cluster_m * c.cluster_n * c.num_splits;
    const cuda::LaunchConfig one = {.blocks = cluster,
                                    .threads = unit.threads,
                                    .shared_bytes = prepared.plan.launch.shared_bytes,
                                    .cluster = cluster};
    if (cluster > 1) loaded->slots = std::max(1, cuda::max_active_clusters(*prepared.loaded, one));
    loaded->kernel = prepared.loaded;
  }
  loaded->copied = copied;
  if (copied.any()) loaded->copy = prepare_gpu_matmul(runtime, device, copies_unit(problem), c, 0).loaded;
  prepared.plan.detail =
      fmt::format("{} x {} x {}, {} stages, {} warps{}{}{}", c.block_m, c.block_n, c.block_k, c.stages, c.warps,
                  c.cluster_m * c.cluster_n > 1 ? fmt::format(", cluster {} x {}", c.cluster_m, c.cluster_n) : "",
                  c.num_splits > 1 ? fmt::format(", k in {} parts", c.num_splits)
                  : c.shares_tiles ? ", last tiles shared"
                                   : "",
                  c.swaps_ab ? ", as d^T = b^T a^T" : "");
  if (c.dtype == DType::kF32) prepared.plan.detail += ", as TF32";
  if (matmul_sm90_a_in_registers(c)) prepared.plan.detail += c.swaps_ab ? ", b from registers" : ", a from registers";
  prepared.plan.detail += copies_text(problem);
  prepared.plan.state = std::move(loaded);
  return std::move(prepared.plan);
}

/// One matrix and its batch as five dimensions. x runs along the stride of 1.
cuda::TensorMap map_of(const cuda::Driver& driver, const MatmulArgs& args, const void* data, DType dtype,
                       Int64 extent_x, Int64 extent_y, Int64 stride_y, const Int64 (&stride_batch)[kMatmulBatchDims],
                       int box_x, int box_y, cuda::Swizzle swizzle, bool rounds = false) {
  cuda::TensorMapShape shape;
  shape.data = data;
  shape.dtype = dtype;
  shape.rank = 5;
  shape.extent[0] = extent_x;
  shape.extent[1] = extent_y;
  shape.box[0] = box_x;
  shape.box[1] = box_y;
  const std::int64_t element = size_bytes(dtype);
  shape.stride_bytes[1] = extent_y > 1 ? stride_y * element : 16;
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    const int from = kMatmulBatchDims - 1 - i;  // innermost first
    const bool moves = args.batch_sizes[from] > 1 && stride_batch[from] != 0;
    shape.extent[2 + i] = moves ? args.batch_sizes[from] : 1;
    shape.stride_bytes[2 + i] = moves ? stride_batch[from] * element : 16;
    shape.box[2 + i] = 1;
  }
  shape.swizzle = swizzle;
  shape.rounds_to_tf32 = rounds;
  shape.l2_promotion = cuda::L2Promotion::k128Bytes;  // 256 bring lines that another block asks for as well
  return cuda::encode_tensor_map(driver, shape);
}

/// panel: elements of m or n that lie together in shared memory, where the operand is contiguous along these.
cuda::TensorMap operand_map(const cuda::Driver& driver, const MatmulArgs& args, const MatrixArgs& x, DType dtype,
                            bool is_k_major, int rows, Int64 stride_rows, Int64 stride_k, int box_rows, int panel) {
  const int line = matmul_sm90_block_k(dtype);
  const bool rounds = dtype == DType::kF32;
  if (is_k_major)
    return map_of(driver, args, x.data, dtype, args.k, rows, stride_rows, x.stride_batch, line, box_rows,
                  cuda::Swizzle::k128Bytes, rounds);
  return map_of(driver, args, x.data, dtype, rows, args.k, stride_k, x.stride_batch, panel, line,
                panel == line ? cuda::Swizzle::k128Bytes : cuda::Swizzle::k64Bytes, rounds);
}

MatmulSchedule schedule_of(const MatmulArgs& args, const MatmulConfig& c, int slots) {
  MatmulSchedule s;
  const int m = c.block_m * c.cluster_m, n = c.block_n * c.cluster_n;
  const int tiles_m = ceil_div(args.m, m), tiles_n = ceil_div(args.n, n);
  set_tiles(s, tiles_m, tiles_n, group_of_tiles(tiles_m, tiles_n, m, n, slots));
  s.num_splits = c.num_splits;
  s.num_tiles = Int64{s.tiles_m} * s.tiles_n * args.batch;
  if (c.shares_tiles) s.shared_tiles = sm90_shared_tiles(c, s.num_tiles, args.k, slots);
  return s;
}

void launch_product(const LoadedSm90& loaded, const MatmulConfig& c, const cuda::LaunchConfig& grid, Stream stream,
                    const MatmulArgs& args) {
  const cuda::Driver& driver = *loaded.kernel->device.driver;
  const bool is_a_k_major = c.a_order == MatrixOrder::kRowMajor, is_b_k_major = c.b_order == MatrixOrder::kColumnMajor;
  const cuda::TensorMap a = operand_map(driver, args, args.a, c.dtype, is_a_k_major, args.m, args.a.stride_row,
                                        args.a.stride_col, c.block_m / c.cluster_n, c.block_k);
  const cuda::TensorMap b = operand_map(driver, args, args.b, c.dtype, is_b_k_major, args.n, args.b.stride_col,
                                        args.b.stride_row, c.block_n / c.cluster_m, matmul_sm90_panel(c.block_n));
  cuda::TensorMap d = {};
  if (matmul_sm90_stores_by_tma(c)) {
    const int columns = matmul_sm90_layout(c).store_columns;
    d = map_of(driver, args, args.d, c.d_dtype, args.n, args.m, args.d_stride_row, args.d_stride_batch, columns, 16,
               columns == 64 ? cuda::Swizzle::k128Bytes : cuda::Swizzle::k64Bytes);
  }
  cuda::launch(*loaded.kernel, grid, stream, args, a, b, d);
}

/// Copies the operands that need it, and makes args the product of the copies.
void launch_copies(const LoadedSm90& loaded, const MatmulConfig& c, OperandCopyPlan& plan, char* workspace,
                   Stream stream, const MatmulArgs& user_args, MatmulArgs& args) {
  MatmulArgs own = user_args;
  own.schedule = args.schedule;
  take_copies(loaded.copied, c.dtype, plan, workspace, own);
  cuda::launch(*loaded.copy, {.blocks = plan.blocks, .threads = kCopyThreads, .programmatic = true}, stream,
               plan.copies);
  args = c.swaps_ab ? transposed(own) : own;
}

cuda::LaunchConfig grid_of(const MatmulPlan& plan, const MatmulSchedule& schedule, int slots) {
  const MatmulConfig& c = plan.config;
  constexpr Int64 kMaxTiles = (Int64{1} << 31) - 1;
  const Int64 cluster = Int64{c.cluster_m} * c.cluster_n * c.num_splits;
  check(schedule.num_tiles * cluster <= kMaxTiles, ErrorCode::kUnsupported, "d",
        "the call has {} tiles of d, a launch has at most {}; split the batch", schedule.num_tiles, kMaxTiles);
  const Int64 clusters = c.is_persistent ? std::min<Int64>(schedule.num_tiles, slots) : schedule.num_tiles;
  return {.blocks = clusters * cluster,
          .threads = plan.launch.threads_per_block,
          .shared_bytes = plan.launch.shared_bytes,
          .cluster = static_cast<int>(cluster),
          .programmatic = true};
}

void run(Runtime& runtime, const MatmulPlan& plan, const MatmulProblem&, const MatmulArgs& user_args, Stream stream) {
  const MatmulConfig& c = plan.config;
  const auto& loaded = *static_cast<const LoadedSm90*>(plan.state.get());
  MatmulArgs args = c.swaps_ab ? transposed(user_args) : user_args;
  if (args.m == 0 || args.n == 0 || args.batch == 0) return;
  args.schedule = schedule_of(args, c, loaded.slots);
  const cuda::LaunchConfig grid = grid_of(plan, args.schedule, loaded.slots);
  const cuda::DeviceContext& device = loaded.kernel->device;
  const cuda::ScopedContext scope(device);  // encoding wants a context, as launching does
  const bool shares = args.schedule.shared_tiles > 0;
  if (!shares && !loaded.copied.any()) return launch_product(loaded, c, grid, stream, args);

  OperandCopyPlan copies;
  if (loaded.copied.any()) copies = plan_copies(loaded.copied, c.dtype, user_args);
  const auto blocks = static_cast<std::size_t>(grid.blocks), copy_bytes = static_cast<std::size_t>(copies.bytes);
  const std::size_t tile_bytes =
      sizeof(float) * static_cast<std::size_t>(c.block_m) * static_cast<std::size_t>(c.block_n);
  std::optional<cuda::WorkspaceLease> sent;
  if (shares)
    sent.emplace(
        runtime.impl().counters.acquire(device, stream, blocks * sizeof(int) * static_cast<std::size_t>(c.warps)));
  // Copies and sums in one lease: a stream has one workspace.
  const cuda::WorkspaceLease memory =
      runtime.impl().workspaces.acquire(device, stream, copy_bytes + (shares ? blocks * tile_bytes : 0));
  auto* const workspace = static_cast<char*>(memory.data());
  if (loaded.copied.any()) launch_copies(loaded, c, copies, workspace, stream, user_args, args);
  if (shares) {
    args.schedule.partial = reinterpret_cast<float*>(workspace + copy_bytes);
    args.schedule.sent = static_cast<int*>(sent->data());
  }
  launch_product(loaded, c, grid, stream, args);
}

}  // namespace

const MatmulKernel matmul_sm90 = {"matmul_sm90", supports, candidates, prepare, run, pays};

}  // namespace fovea
