// SPDX-License-Identifier: Apache-2.0
// The card of kernels/matmul/matmul_sm80.cuh: fp16, bf16, e4m3 and, as TF32, fp32 by mma.sync, from Turing (fp16) to
// Blackwell.
#include <fmt/format.h>

#include <cmath>

#include "base/check.h"
#include "matmul/kernels.h"
#include "matmul/matmul_sm80_cost.h"
#include "matmul/simple_gpu_matmul.h"

namespace fovea {
namespace {

constexpr SimpleGpuMatmul kKernel = {"matmul_sm80", "kernels/matmul/matmul_sm80.cuh", matmul_sm80_shared_bytes};

struct Tile {
  int block_m, block_n, k_bytes, stages, warps, warps_m;
};
constexpr Tile kTiles[] = {{128, 128, 64, 4, 4, 2},
                           {128, 64, 64, 4, 4, 2},
                           {64, 128, 64, 4, 4, 2},
                           {64, 64, 64, 4, 4, 2},
                           {32, 64, 128, 4, 4, 2}};

/// Registers of a thread for sums, and how many leave room for the rest: e4m3 keeps two sets, and where the compiler
/// makes its product of fp16 products (sm_90, sm_100) operands take twice the room.
int sums_of(const MatmulConfig& c) { return c.block_m * c.block_n / (32 * c.warps); }
int max_sums(const MatmulConfig& c, const DeviceInfo& device) {
  const bool has_product = device.compute_capability == 89 || device.compute_capability >= 120;
  return c.dtype != DType::kE4M3 ? 128 : has_product ? 64 : 32;
}

Support supports(const MatmulProblem& p, const DeviceInfo& device) {
  if (Support s = supports_gpu_matmul(p, device); !s) return s;
  if (p.dtype == DType::kF32 && p.math != Math::kFast) return Support::no("multiplies fp32 as TF32, with math = fast");
  if (p.dtype == DType::kF32 && device.compute_capability < 80) return Support::no("multiplies TF32 from sm_80 on");
  if (p.dtype == DType::kE4M3 && !device.has_fp8_mma) return Support::no("multiplies e4m3 from sm_89 on");
  if (p.dtype == DType::kBF16 && !device.has_bf16_mma) return Support::no("multiplies bf16 from sm_80 on");
  return Support::yes();
}

/// How much longer 16 bytes take in smaller copies. Two bytes are no copy at all: a load, a wait and a store.
double copy_factor(MatrixOrder order, int bytes) {
  if (order == MatrixOrder::kStrided || bytes < 4) return 221;
  return bytes >= 16 ? 1.0 : bytes == 8 ? 1.04 : 7.5;
}

/// A tile's products at the rate of the matrix units or its copies, whichever takes longer, and the latency that the
/// stages under way do not hide. Fitted, with kCost, to the times of every tile and split in 41 products on an H200
/// that matmul_sm90 leaves to this card: some of their rows are at multiples of 2, 4 or 8 bytes only.
double clk_per_step(const MatmulConfig& c) {
  constexpr double kCopyClk = 1.66, kLatencyClk = 1210;
  const double k_bytes = c.block_k * size_bytes(c.dtype);
  const double product = c.block_m * c.block_n * k_bytes / 2048;
  const double copies =
      (c.block_m * copy_factor(c.a_order, c.a_copy_bytes) + c.block_n * copy_factor(c.b_order, c.b_copy_bytes)) *
      k_bytes / 32;
  return std::cbrt(std::pow(product, 3) + std::pow(kCopyClk * copies, 3)) + kLatencyClk / (c.stages - 1);
}
constexpr SimpleCost kCost = {
    .clk_per_step = clk_per_step, .block_clk = 34, .merge_clk = 5660, .merge_element_clk = 1.58, .min_steps = 2};

std::vector<SimpleCandidate> predicted(const MatmulProblem& p, const DeviceInfo& device) {
  std::vector<MatmulConfig> configs;
  for (const Tile& t : kTiles) {
    MatmulConfig c = gpu_matmul_config(p, false);
    c.block_m = t.block_m, c.block_n = t.block_n, c.block_k = t.k_bytes / size_bytes(p.dtype);
    c.stages = device.has_cp_async ? t.stages : 2;
    c.warps = t.warps, c.warps_m = t.warps_m, c.blocks_per_sm = 1;
    while (sums_of(c) > max_sums(c, device)) c.warps *= 2;
    if (c.warps > 8) continue;
    if (p.dtype == DType::kE4M3) {  // no word transposes bytes
      if (c.a_order != MatrixOrder::kRowMajor) c.a_order = MatrixOrder::kStrided;
      if (c.b_order != MatrixOrder::kColumnMajor) c.b_order = MatrixOrder::kStrided;
    }
    if (matmul_sm80_shared_bytes(c) <= device.shared_per_block_bytes) configs.push_back(c);
  }
  return simple_candidates(p, device, configs, kCost);
}
std::vector<MatmulConfig> candidates(const MatmulProblem& p, const DeviceInfo& device) {
  return configs_of(predicted(p, device));
}

MatmulPlan prepare(Runtime& runtime, const MatmulProblem&, const DeviceInfo& device, const MatmulConfig& wanted) {
  MatmulConfig c = wanted;
  const auto need = [&](bool ok, const char* field, int got, std::string_view rule) {
    check(ok, ErrorCode::kInvalidArgument, "tile", "{} is {}, must be {} (matmul_sm80 on {})", field, got, rule,
          device.name);
  };
  need(c.warps >= 1 && c.warps <= 16, "warps", c.warps, "1 to 16");
  if (c.warps_m < 1 || c.warps % c.warps_m != 0) c.warps_m = c.warps % 2 == 0 ? 2 : 1;
  const int warps_n = c.warps / c.warps_m;
  need(c.block_m >= 16 && c.block_m % (16 * c.warps_m) == 0, "block_m", c.block_m,
       fmt::format("a multiple of {} (16 rows for each of {} warps)", 16 * c.warps_m, c.warps_m));
  need(c.block_n >= 16 && c.block_n % (16 * warps_n) == 0, "block_n", c.block_n,
       fmt::format("a multiple of {} (16 columns for each of {} warps)", 16 * warps_n, warps_n));
  const int step = 32 / size_bytes(c.dtype);
  need(c.block_k >= step && c.block_k % step == 0, "block_k", c.block_k, fmt::format("a multiple of {}", step));
  need(c.dtype != DType::kE4M3 || kScaleBlock % c.block_k == 0, "block_k", c.block_k, "32, 64 or 128 for e4m3");
  const int sums = max_sums(c, device);
  need(sums_of(c) <= sums, "block_m * block_n", c.block_m * c.block_n,
       fmt::format("at most {} with {} warps: {} registers of a thread for sums", sums * 32 * c.warps, c.warps, sums));
  if (!device.has_cp_async) c.stages = 2;
  need(c.stages >= 2 && c.stages <= 8, "stages", c.stages, "2 to 8");
  need(c.cluster_m * c.cluster_n == 1, "cluster", c.cluster_m * c.cluster_n, "1 x 1");
  need(c.num_splits >= 1 && c.num_splits <= 64, "num_splits", c.num_splits, "1 to 64");
  need(!c.is_persistent, "persistent", 1, "false: a block computes one tile");
  MatmulPlan plan = prepare_simple_matmul(runtime, kKernel, device, c);
  if (c.dtype == DType::kF32) plan.detail += ", as TF32";
  const bool reads_elements = c.a_order == MatrixOrder::kStrided || c.b_order == MatrixOrder::kStrided;
  if (c.dtype == DType::kE4M3 && reads_elements)
    plan.detail += ", slowly: give a row-major and b as the transposed view of an (n, k) matrix";
  return plan;
}

void run(Runtime& runtime, const MatmulPlan& plan, const MatmulProblem&, const MatmulArgs& args, Stream stream) {
  run_simple_matmul(runtime, plan, args, stream);
}

}  // namespace

double sm80_cost_us(const MatmulProblem& problem, const DeviceInfo& device) {
  // The tile's model has no launch and no memory. Against 212 measured products: what is copied by cp.async is 1.0 to
  // 1.4 times this, what is read element by element much less; that never was the faster way.
  constexpr double kLaunchUs = 6.5, kClkPerUs = 1350, kBytesPerUs = 1.8e6;
  const std::vector<SimpleCandidate> all = predicted(problem, device);
  return all.empty() ? HUGE_VAL : kLaunchUs + all.front().clk / kClkPerUs + matmul_bytes(problem) / kBytesPerUs;
}

const MatmulKernel matmul_sm80 = {"matmul_sm80", supports, candidates, prepare, run};

}  // namespace fovea
