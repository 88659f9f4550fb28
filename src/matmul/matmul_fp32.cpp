// SPDX-License-Identifier: Apache-2.0
// The card of kernels/matmul/matmul_fp32.cuh: fp32 products on any GPU, for any dtype.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/check.h"
#include "matmul/kernels.h"
#include "matmul/simple_gpu_matmul.h"

namespace fovea {
namespace {

constexpr SimpleGpuMatmul kKernel = {"matmul_fp32", "kernels/matmul/matmul_fp32.cuh", matmul_fp32_shared_bytes};
constexpr int kMaxSums = 128;  // of a lane

struct Tile {
  int block_m, block_n, block_k, stages, warps, warps_m;
};
/// Operands by cp.async. 16 x 8 sums of a lane take 24 words of shared memory per 128 products, 8 x 8 take 32. Loops
/// of more than 1024 products leave the instruction cache.
constexpr Tile kTiles[] = {{128, 256, 8, 3, 8, 2}, {256, 128, 8, 3, 8, 4}, {128, 128, 8, 4, 4, 2},
                           {64, 128, 8, 4, 2, 1},  {64, 128, 16, 4, 4, 2}, {64, 128, 8, 4, 4, 2},
                           {64, 64, 16, 4, 4, 2},  {64, 64, 16, 4, 2, 1},  {32, 128, 16, 4, 4, 1},
                           {32, 64, 16, 4, 2, 1}};
/// Operands through registers, which leaves room for 8 x 8 sums of a lane.
constexpr Tile kTilesByLoads[] = {
    {128, 128, 8, 2, 8, 4}, {128, 64, 8, 2, 4, 2}, {64, 128, 8, 2, 4, 2}, {64, 64, 8, 2, 4, 2}};
constexpr int kSplits[] = {1, 2, 3, 4, 5, 6, 8, 12, 16};
constexpr int kMinSplitK = 48;  // of a part of k

/// Whether a warp's part of the tile is whole fours of rows and columns for every lane.
bool has_whole_fours(const MatmulConfig& c) {
  if (c.warps_m < 1 || c.warps % c.warps_m != 0) return false;
  const int warps_n = c.warps / c.warps_m;
  if (c.block_m % c.warps_m != 0 || c.block_n % warps_n != 0) return false;
  const int warp_m = c.block_m / c.warps_m, warp_n = c.block_n / warps_n;
  const int lanes_m = matmul_fp32_lanes_m(warp_m, warp_n);
  return warp_m >= 4 * lanes_m && warp_m % (4 * lanes_m) == 0 && warp_n >= 128 / lanes_m &&
         warp_n % (128 / lanes_m) == 0;
}

int sums_of(const MatmulConfig& c) { return c.block_m * c.block_n / (32 * c.warps); }
bool copies_by_cp_async(const MatmulConfig& c, const DeviceInfo& device) {
  return c.dtype == DType::kF32 && device.has_cp_async;
}

/// Blocks of an SM that registers must allow: more of them hide barriers, fewer leave room for more sums.
int blocks_per_sm(const MatmulConfig& c) {
  const int registers = c.stages == 2 ? 255 : sums_of(c) > 64 ? 255 : sums_of(c) > 32 ? 168 : 128;
  return std::max(1, 65536 / (32 * c.warps * registers));
}

Support supports(const MatmulProblem& p, const DeviceInfo& device) {
  if (p.dtype == DType::kE4M3) return Support::no("multiplies fp32, fp16 and bf16");
  return supports_gpu_matmul(p, device);
}

/// Warps' copies of one k of an operand: in fours only where neighbours in memory are neighbours in shared memory.
double copies_of(int rows, bool is_along_k, int copy_bytes) {
  return rows / 32.0 / (is_along_k ? 1 : std::max(copy_bytes / 4, 1));
}

/// Clocks of the SM with most blocks. Blocks of an SM share its rate of products; few of them wait for latencies
/// instead. Fitted, as all numbers here, to the times of every tile and split in the products of
/// docs/kernels/matmul_fp32.md on an H200.
double predicted_clk(const MatmulConfig& c, const MatmulProblem& p, double sms) {
  constexpr double kRate = 99.2, kRateOf64 = 92.9, kRateOf64By8 = 100.6;  // products per clock, by a lane's sums
  constexpr double kRateOf32 = 96.3, kRateOf32ByTwoWarps = 80.9;
  constexpr double kCopyClk = 1.03, kLatencyClk = 283, kLatencySumClk = 6.67, kStoreClk = 3.36, kBlockClk = 86;
  constexpr double kMergeClk = 4850, kMergeElementClk = 0.423;
  constexpr double kNorm = 2.43;  // between the larger of rate and latency, and their sum
  const int sums = sums_of(c);
  const double rate = sums > 64   ? kRate
                      : sums > 32 ? (c.block_k > 8 ? kRateOf64 : kRateOf64By8)
                                  : (c.warps > 2 ? kRateOf32 : kRateOf32ByTwoWarps);
  const double steps = std::ceil(std::ceil(static_cast<double>(p.k) / c.block_k) / c.num_splits) * c.block_k / 8;
  const double copies = copies_of(c.block_m, c.a_order == MatrixOrder::kRowMajor, c.a_copy_bytes) +
                        copies_of(c.block_n, c.b_order == MatrixOrder::kColumnMajor, c.b_copy_bytes);
  const double block = 8 * (c.block_m * c.block_n / rate + kCopyClk * copies);  // per 8 of k
  const double latency = kLatencyClk + kLatencySumClk * sums;
  const auto clk_of = [&](double blocks) {
    return steps * std::pow(std::pow(blocks * block, kNorm) + std::pow(latency, kNorm), 1 / kNorm) +
           blocks * kStoreClk * c.block_m * c.block_n / 128 + kBlockClk;
  };
  const double all = static_cast<double>(tiles_of(p, c)) * c.num_splits, slots = sms * c.blocks_per_sm;
  const double waves = std::floor(all / slots), rest = std::ceil((all - waves * slots) / sms);
  double clk = waves * clk_of(c.blocks_per_sm) + (rest > 0 ? clk_of(rest) : 0);
  if (c.num_splits > 1) {
    clk += kMergeClk + kMergeElementClk * c.num_splits * (static_cast<double>(p.m) * p.n * p.batch) / sms;
  }
  return clk;
}

std::vector<MatmulConfig> candidates(const MatmulProblem& p, const DeviceInfo& device) {
  std::vector<SimpleCandidate> all;
  const double sms = std::max(device.num_sms, 1);
  const bool is_async = copies_by_cp_async(gpu_matmul_config(p, false), device);
  for (const Tile& t : is_async ? std::span<const Tile>(kTiles) : std::span<const Tile>(kTilesByLoads)) {
    MatmulConfig c = gpu_matmul_config(p, false);
    c.math = Math::kExact;  // one kernel for both
    c.block_m = t.block_m, c.block_n = t.block_n, c.block_k = t.block_k;
    c.stages = t.stages, c.warps = t.warps, c.warps_m = t.warps_m;
    c.blocks_per_sm = blocks_per_sm(c);
    for (const int splits : kSplits) {
      const double blocks = static_cast<double>(tiles_of(p, c)) * splits;
      if (splits > 1 && (p.k < kMinSplitK * splits || blocks > 4 * sms * c.blocks_per_sm)) break;
      const MatmulConfig split = with_splits(c, splits);
      all.push_back({split, predicted_clk(split, p, sms)});
    }
  }
  return configs_of(cheapest_first(std::move(all)));
}

MatmulPlan prepare(Runtime& runtime, const MatmulProblem& p, const DeviceInfo& device, const MatmulConfig& wanted) {
  MatmulConfig c = wanted;
  const auto need = [&](bool ok, const char* field, int got, std::string_view rule) {
    check(ok, ErrorCode::kInvalidArgument, "tile", "{} is {}, must be {} (matmul_fp32 on {})", field, got, rule,
          device.name);
  };
  const auto is_size = [](int x) { return x == 32 || x == 64 || x == 128 || x == 256; };
  need(is_size(c.block_m), "block_m", c.block_m, "32, 64, 128 or 256");
  need(is_size(c.block_n), "block_n", c.block_n, "32, 64, 128 or 256");
  need(c.block_k == 8 || c.block_k == 16 || c.block_k == 32, "block_k", c.block_k, "8, 16 or 32");
  need(c.warps == 2 || c.warps == 4 || c.warps == 8, "warps", c.warps, "2, 4 or 8");
  if (!has_whole_fours(c)) {
    for (c.warps_m = c.warps; c.warps_m > 1 && !has_whole_fours(c);) c.warps_m /= 2;
  }
  need(has_whole_fours(c) && sums_of(c) <= kMaxSums, "block_m * block_n", c.block_m * c.block_n,
       fmt::format("{} to {} with {} warps", 16 * 32 * c.warps, kMaxSums * 32 * c.warps, c.warps));
  if (!copies_by_cp_async(c, device)) c.stages = 2;
  need(c.stages >= 2 && c.stages <= 8, "stages", c.stages, "2 to 8");
  const int least = std::min(c.block_m, c.block_n) * c.block_k;
  need(least >= (c.stages == 2 ? 4 : 1) * 32 * c.warps, "block_k", c.block_k, "more: every thread copies something");
  need(c.cluster_m * c.cluster_n == 1, "cluster", c.cluster_m * c.cluster_n, "1 x 1");
  need(c.num_splits >= 1 && c.num_splits <= 64, "num_splits", c.num_splits, "1 to 64");
  need(!c.is_persistent, "persistent", 1, "false: a block computes one tile");
  c.blocks_per_sm = blocks_per_sm(c);
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
