// SPDX-License-Identifier: Apache-2.0
#include "matmul/matmul_sm90_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "contract/matmul_sm90.h"
#include "matmul/gpu_matmul.h"
#include "problem/describe_matmul.h"

namespace fovea {
namespace {

constexpr int kMaxStages = 8, kMaxNarrowStages = 12;  // more only take shared memory
constexpr double kLargeOutput = 4096.0 * 2048;        // from here on tiles below 128 x 128 only reread operands
constexpr std::size_t kMaxCandidates = 12;

/// Fitted to 901 times on an H200: 21 shapes, 60 tiles (docs/kernels/matmul_sm90.md). clk are SM clocks.
constexpr double kLaunchUs = 5.8;  // launch, first loads, last stores
constexpr double kClkPerUs = 1640;
constexpr double kProductFactor = 1.155;    // over the tensor cores' rate
constexpr double kBytesPerClkSm = 91.5;     // from the L2 cache, one SM
constexpr double kBytesPerClkShare = 63.6;  // … when all SMs load
constexpr double kMisalignedFactor = 2.34;  // more bytes where rows do not begin on a line of 128
constexpr double kPanelFactor = 1.72;       // … where tiles do not
constexpr double kLatencyClk = 1920;        // of a load, shared by the stages in flight
constexpr double kTileClk = 183, kElementClk = 0.0136;
constexpr double kSplitUs = 0.75, kSplitClk = 1550, kSplitElementClk = 0.174;  // joining partial tiles
constexpr double kClusterUs = 0.33;
constexpr double kMemoryBytesPerUs = 3.77e6;

struct Shape {
  int block_m, block_n, warpgroups;
};
constexpr Shape kShapes[] = {{256, 192, 2}, {128, 256, 2}, {256, 128, 2}, {192, 192, 3}, {128, 192, 2}, {192, 128, 3},
                             {192, 96, 3},  {128, 160, 2}, {128, 224, 2}, {64, 96, 1},   {128, 128, 2}, {64, 256, 1},
                             {128, 96, 2},  {64, 192, 1},  {128, 64, 2},  {64, 128, 1},  {64, 64, 1},   {64, 32, 1},
                             {128, 32, 2},  {128, 16, 2},  {64, 16, 1},   {128, 8, 2},   {64, 8, 1},    {256, 16, 2}};
constexpr int kClusters[][2] = {{1, 1}, {2, 1}, {1, 2}};
constexpr int kSplits[] = {1, 2, 4, 8};

int cluster_of(const MatmulConfig& c) { return c.cluster_m * c.cluster_n * (c.num_splits > 1 ? c.num_splits : 1); }

int stages_that_fit(MatmulConfig c) {
  c.stages = 1;
  const int one = matmul_sm90_layout(c).total_bytes;
  c.stages = 2;
  const int each = std::max(1, matmul_sm90_layout(c).a_bytes + matmul_sm90_layout(c).b_bytes + 16);
  c.stages = std::clamp(1 + (kSm90SharedBytes - one) / each, 1, c.block_n < 64 ? kMaxNarrowStages : kMaxStages);
  while (c.stages > 1 && matmul_sm90_layout(c).total_bytes > kSm90SharedBytes) --c.stages;
  return c.stages;
}

/// Tiles of the whole call, in units of a cluster's joint tile.
std::int64_t tiles_of(const MatmulProblem& p, const MatmulConfig& c) {
  const std::int64_t m = c.block_m * c.cluster_m, n = c.block_n * c.cluster_n;
  return (p.m + m - 1) / m * ((p.n + n - 1) / n) * p.batch;
}

/// Registers of a thread for sums that leave room for the rest. e4m3 has two sets of them, and half as many numbers
/// again where every column has scales of its own.
int max_sums(const MatmulConfig& c, int groups) {
  const int all = groups == 3 ? 96 : 192;
  const bool has_column_scales = c.scale == ScaleKind::kPerBlock && c.b_scale_lines == 1;
  const int share = !has_column_scales ? 2 : c.num_splits > 1 ? 4 : 3;
  return c.dtype == DType::kE4M3 ? all / share : all;
}

}  // namespace

std::string sm90_illegal(const MatmulConfig& c) {
  const int groups = c.warps / 4;
  const int block_k = matmul_sm90_block_k(c.dtype);
  if (c.block_k != block_k) return fmt::format("block_k is {}, must be {} (a row of the swizzle)", c.block_k, block_k);
  if (c.block_m % 64 != 0 || c.block_m < 64 || c.block_m > 256)
    return fmt::format("block_m is {}, must be 64, 128, 192 or 256 (wgmma multiplies 64 rows)", c.block_m);
  if (c.block_n != 8 && (c.block_n % 16 != 0 || c.block_n < 16 || c.block_n > 256))
    return fmt::format("block_n is {}, must be 8 or a multiple of 16 up to 256 (the columns of a wgmma)", c.block_n);
  if (c.warps % 4 != 0 || groups < 1 || groups > 3 || c.block_m % (64 * groups) != 0)
    return fmt::format("warps is {}, must be 4, 8 or 12, each four of them with 64 or 128 of the {} rows", c.warps,
                       c.block_m);
  const int sums = c.block_m / 64 / groups * c.block_n / 2, limit = max_sums(c, groups);
  if (sums > limit)
    return fmt::format(
        "a tile of {} x {} takes {} registers for its sums with {} warps, at most {} leave room for the "
        "rest",
        c.block_m, c.block_n, sums, c.warps, limit);
  if (c.scale == ScaleKind::kPerBlock && c.b_scale_lines > 1 && kScaleBlock % c.block_n != 0)
    return fmt::format("block_n is {}, must be 8, 16, 32, 64 or 128: its columns share a scale", c.block_n);
  if (c.num_splits < 1 || c.num_splits > 8 || (c.num_splits & (c.num_splits - 1)) != 0)
    return fmt::format("num_splits is {}, must be 1, 2, 4 or 8 (the blocks of a cluster)", c.num_splits);
  const bool is_a_m_major = c.a_order == MatrixOrder::kColumnMajor;
  const bool is_b_n_major = c.b_order == MatrixOrder::kRowMajor;
  if (c.cluster_m < 1 || c.cluster_n < 1 || c.cluster_m > 2 || c.cluster_n > 2 || c.cluster_m * c.cluster_n > 2)
    return fmt::format("the cluster is {} x {}, must be 1 x 1, 2 x 1 or 1 x 2", c.cluster_m, c.cluster_n);
  if (c.num_splits > 1 && c.cluster_m * c.cluster_n > 1) return "a cluster shares operands or splits k, not both";
  if (c.block_m % ((is_a_m_major ? 64 : 8) * c.cluster_n) != 0)
    return fmt::format("block_m is {}, each block of a cluster must load an equal share of a", c.block_m);
  if (c.cluster_m > 1 && c.block_n % ((is_b_n_major ? 64 : 8) * c.cluster_m) != 0)
    return fmt::format("block_n is {}, each block of a cluster must load an equal share of b", c.block_n);
  if (c.stages < 2) return fmt::format("stages is {}, must be 2 or more", c.stages);
  const int bytes = matmul_sm90_layout(c).total_bytes;
  if (bytes > kSm90SharedBytes)
    return fmt::format("a tile of {} x {} with {} stages takes {} bytes of shared memory, a block has {}", c.block_m,
                       c.block_n, c.stages, bytes, kSm90SharedBytes);
  return {};
}

MatmulConfig sm90_fitted(MatmulConfig c) {
  c.split = c.num_splits > 1 ? SplitKind::kCluster : SplitKind::kNone;
  const auto sums = [&](int groups) { return c.block_m / 64 / groups * c.block_n / 2; };
  const bool fits = c.warps % 4 == 0 && c.warps > 0 && c.block_m % (16 * c.warps) == 0 &&
                    sums(c.warps / 4) <= max_sums(c, c.warps / 4);
  if (!fits) c.warps = c.block_m == 64 ? 4 : c.block_m == 192 ? 12 : 8;
  if (c.stages == 0 || matmul_sm90_layout(c).total_bytes > kSm90SharedBytes) c.stages = stages_that_fit(c);
  return c;
}

int sm90_slots(const MatmulConfig& c, int num_sms) {
  const int cluster = cluster_of(c);
  // Clusters of 4 and more must fit into a group of 16 or 18 SMs, and leave some of it idle.
  return std::max(1, (cluster <= 2 ? num_sms : num_sms / 8 * 8) / cluster);
}

double sm90_cost_us(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device) {
  const MatmulProblem p = c.swaps_ab ? transposed(problem) : problem;
  const auto tiles = static_cast<double>(tiles_of(p, c));
  const int cluster = cluster_of(c);
  const double waves = std::ceil(tiles / sm90_slots(c, device.num_sms));
  const double steps = std::ceil(std::ceil(static_cast<double>(p.k) / c.block_k) / c.num_splits);
  const double active = std::min<double>(tiles * cluster, device.num_sms);
  const int warpgroups = c.block_m / 64;
  double product = warpgroups * 4 * std::max(c.block_n / 2.0, (64.0 + c.block_n) / 4);
  // e4m3: each sum is added to another; two warpgroups hide most of it under each other's products. Not fitted yet.
  if (c.dtype == DType::kE4M3) product += warpgroups * c.block_n / (c.warps > 4 ? 4.0 : 2.0);
  const bool is_b_n_major = c.b_order == MatrixOrder::kRowMajor;
  const double columns = is_b_n_major ? (c.block_n + 63) / 64 * 64 : c.block_n;
  const double a_factor = p.a_alignment_bytes < 128 ? kMisalignedFactor : 1;
  const double b_factor = p.b_alignment_bytes < 128             ? kMisalignedFactor
                          : is_b_n_major && c.block_n % 64 != 0 ? kPanelFactor
                                                                : 1;
  const double bytes = 128 * (c.block_m * a_factor / c.cluster_n + columns * b_factor / c.cluster_m);
  const double rate = std::min(kBytesPerClkSm, kBytesPerClkShare * device.num_sms / active);
  const double step = std::max({product * kProductFactor, bytes / rate, kLatencyClk / c.stages});
  double tile = steps * step + kTileClk + kElementClk * c.block_m * c.block_n;
  double extra_us = kLaunchUs;
  if (c.num_splits > 1) {
    tile += kSplitClk + kSplitElementClk * c.block_m * c.block_n;
    extra_us += kSplitUs;
  }
  if (c.cluster_m * c.cluster_n > 1) extra_us += kClusterUs;
  // Neither hides the other completely: between equals, less work in the SMs still wins.
  const double sms_us = waves * tile / kClkPerUs, memory_us = matmul_bytes(problem) / kMemoryBytesPerUs;
  return extra_us + std::pow(std::pow(sms_us, 4) + std::pow(memory_us, 4), 0.25);
}

std::vector<MatmulConfig> sm90_candidates(const MatmulProblem& problem, const DeviceInfo& device) {
  struct Candidate {
    MatmulConfig config;
    double cost;
  };
  std::vector<Candidate> all;
  for (const bool swaps : {false, true}) {
    const MatmulConfig base = gpu_matmul_config(problem, swaps);
    const int rows = swaps ? problem.n : problem.m, columns = swaps ? problem.m : problem.n;
    for (const Shape& s : kShapes) {
      // Narrow tiles serve narrow products: elsewhere most of the tensor core would idle.
      if (s.block_n < 64 && columns > 4 * s.block_n && !(s.block_n == 32 && rows <= 512 && columns <= 512)) continue;
      const bool is_large = static_cast<double>(problem.m) * problem.n * problem.batch >= kLargeOutput;
      if (is_large && columns > 64 && s.block_m * s.block_n < 128 * 128) continue;
      for (const auto& [cluster_m, cluster_n] : kClusters) {
        for (const int splits : kSplits) {
          MatmulConfig c = base;
          c.block_m = s.block_m, c.block_n = s.block_n, c.block_k = matmul_sm90_block_k(c.dtype),
          c.warps = 4 * s.warpgroups;
          c.cluster_m = cluster_m, c.cluster_n = cluster_n, c.num_splits = splits;
          c = sm90_fitted(c);
          if (!sm90_illegal(c).empty() || splits > std::max(1, problem.k / 128)) continue;
          c.is_persistent = tiles_of(swaps ? transposed(problem) : problem, c) > sm90_slots(c, device.num_sms);
          all.push_back({c, sm90_cost_us(problem, c, device)});
        }
      }
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.cost < b.cost; });
  std::vector<MatmulConfig> best;
  for (const Candidate& c : all) {
    if (best.size() < kMaxCandidates) best.push_back(c.config);
  }
  return best;
}

}  // namespace fovea
