// SPDX-License-Identifier: Apache-2.0
#include "matmul/matmul_sm90_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "base/math.h"
#include "contract/matmul_sm90.h"
#include "matmul/gpu_matmul.h"
#include "problem/describe_matmul.h"

namespace fovea {
namespace {

constexpr int kMinStages = 4, kMaxStages = 8, kMaxNarrowStages = 12;  // more only take shared memory
constexpr double kLargeOutput = 4096.0 * 2048;  // from here on tiles below 128 x 128 only reread operands
constexpr std::size_t kBestCandidates = 12;     // then the best of each other tile, for callers that name their blocks

/// Fitted to 27 571 times on an H200, 350 shapes and 160 configs, so that the predicted order of what is nearly best
/// is right (docs/kernels/matmul_sm90.md). clk are SM clocks.
constexpr double kLaunchUs = 5.1;  // launch, first loads, last stores
constexpr double kClkPerUs = 1816;
constexpr double kProductFactor = 1.15;   // over the tensor cores' rate
constexpr double kBytesPerClkSm = 123;    // from the L2 cache, one SM
constexpr double kBytesPerClkShare = 59;  // … when all SMs load
constexpr double kLatencyClk = 1216;      // of a load, shared by the stages in flight
constexpr double kStepPower = 3.10;       // these three hide each other, but not completely
constexpr double kStepClk = 42;
constexpr double kPanelFactor = 1.24;      // more bytes where tiles do not begin on a line
constexpr double kMulticastFactor = 1.10;  // … in a cluster
constexpr double kPaddingPower = 0.54;     // of what a cluster computes beyond the product's edge
constexpr double kFirstClk = 1882, kTileClk = 11, kRowClk = 0.08, kElementClk = 0.0936;
constexpr double kDirectElementClk = 0.464;  // stores without the copy engine
constexpr double kPairElementClk = 0.2;      // … of fp32 pairs, a in registers: 15 shapes, 8 to 27 configs each
constexpr double kSplitClk = 62, kSplitPartClk = 94, kSplitElementClk = 0.192;  // joining parts
constexpr double kShareClk = 4030, kShareElementClk = 0.255;  // sending and adding sums of shared tiles
constexpr double kClusterUs = 0.51;
constexpr double kMemoryBytesPerUs = 5.00e6, kMemoryPower = 3.36;
// What the rest does not explain: between equals the simpler one.
constexpr double kClusterFactor = 1.02, kSplitFactor = 1.08, kSwapFactor = 1.02;

/// More bytes where rows do not begin on a line of 128.
double alignment_factor(int bytes, double of_16, double of_32, double of_64) {
  return bytes >= 128 ? 1.0 : bytes == 64 ? of_64 : bytes == 32 ? of_32 : of_16;
}

struct Shape {
  int block_m, block_n, warpgroups;
  double product_factor;        // of this tile's products, as measured
  bool stores_columns = false;  // where d is column-major, as in d^T = b^T a^T, too
};
constexpr Shape kShapes[] = {
    {256, 192, 2, 0.95},      {128, 256, 2, 0.86},      {256, 128, 2, 0.88},      {192, 192, 3, 0.85},
    {128, 192, 2, 0.79},      {192, 128, 3, 0.81},      {192, 96, 3, 0.72, true}, {128, 160, 2, 0.81},
    {128, 128, 2, 0.85},      {64, 256, 1, 1.01},       {128, 96, 2, 1.13},       {64, 192, 1, 1.03},
    {128, 64, 2, 1.00, true}, {64, 128, 1, 0.95},       {64, 96, 1, 1.59},        {64, 64, 1, 0.71, true},
    {64, 32, 1, 0.71, true},  {128, 32, 2, 1.07, true}, {128, 16, 2, 1.28, true}, {64, 16, 1, 1.46, true},
    {128, 8, 2, 1.52, true},  {64, 8, 1, 1.59, true}};
constexpr int kClusters[][2] = {{1, 1}, {2, 1}, {1, 2}};
constexpr int kSplits[] = {1, 2, 4, 8};

int cluster_of(const MatmulConfig& c) { return c.cluster_m * c.cluster_n * (c.num_splits > 1 ? c.num_splits : 1); }

int stages_that_fit(MatmulConfig c) {
  const auto fits = [&c](int stages) {
    c.stages = stages;
    return matmul_sm90_layout(c).total_bytes <= kSm90SharedBytes;
  };
  // Beside the buffers that store a whole tile, but not at the cost of the loads (256 x 128: 4 stages take 6 to 9 %
  // less time than 3).
  c.stages = 1;
  const int one = matmul_sm90_layout(c).total_bytes;
  c.stages = 2;
  const int each = std::max(1, matmul_sm90_layout(c).a_bytes + matmul_sm90_layout(c).b_bytes + 16);
  int stages = std::clamp(1 + (kSm90SharedBytes - one) / each, 1, c.block_n < 64 ? kMaxNarrowStages : kMaxStages);
  while (stages < kMinStages && fits(stages + 1)) ++stages;
  while (stages > 1 && !fits(stages)) --stages;
  return stages;
}

/// Tiles of the whole call, in units of a cluster's joint tile.
std::int64_t tiles_of(const MatmulProblem& p, const MatmulConfig& c) {
  const std::int64_t m = c.block_m * c.cluster_m, n = c.block_n * c.cluster_n;
  return (p.m + m - 1) / m * ((p.n + n - 1) / n) * p.batch;
}

/// Registers of a thread for sums that leave room for the rest. e4m3 has two sets of them, and half as many numbers
/// again where every column has scales of its own; joining parts of k takes some too, and so does a in registers, of
/// 128 rows more than of 64.
int max_sums(const MatmulConfig& c, int groups) {
  const bool is_split = c.num_splits > 1;
  // fp32, or rows that the copy engine cannot store: 192 sums spill 24 to 80 bytes then.
  const bool stores_by_threads = c.dtype == DType::kF32 || c.d_copy_bytes < 16;
  const int all = groups == 3 ? 96 : stores_by_threads || (is_split && c.dtype != DType::kE4M3) ? 128 : 192;
  const bool has_column_scales = c.scale == ScaleKind::kPerBlock && c.b_scale_lines == 1;
  const int share = 2 + (has_column_scales ? 1 : 0) + (is_split ? 1 : 0);
  if (matmul_sm90_a_in_registers(c) && is_split && c.block_m > 64 * groups) return 96;
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
  if (c.dtype == DType::kF32 && is_b_n_major) return "b of TF32 must be contiguous along k";
  if (c.cluster_m < 1 || c.cluster_n < 1 || c.cluster_m > 2 || c.cluster_n > 2 || c.cluster_m * c.cluster_n > 2)
    return fmt::format("the cluster is {} x {}, must be 1 x 1, 2 x 1 or 1 x 2", c.cluster_m, c.cluster_n);
  if (c.num_splits > 1 && c.cluster_m * c.cluster_n > 1) return "a cluster shares operands or splits k, not both";
  if (c.block_m % ((is_a_m_major ? block_k : 8) * c.cluster_n) != 0)
    return fmt::format("block_m is {}, each block of a cluster must load an equal share of a", c.block_m);
  if (c.cluster_m > 1 && c.block_n % ((is_b_n_major ? block_k : 8) * c.cluster_m) != 0)
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
  // Clusters of 4 and more must fit into a group of SMs, and leave some of it idle: 30 and 15 ran at once on 132 SMs.
  return std::max(1, (cluster <= 2 ? num_sms : num_sms * 10 / 11) / cluster);
}

namespace {

double product_factor(const MatmulConfig& c) {
  for (const Shape& s : kShapes) {
    if (s.block_m == c.block_m && s.block_n == c.block_n) return s.product_factor;
  }
  return 1.0;
}

/// Clocks of the tensor cores for one block_k of k of a tile.
double product_clk(const MatmulConfig& c) {
  const int warpgroups = c.block_m / 64;
  double product = warpgroups * 4 * std::max(c.block_n / 2.0, (64.0 + c.block_n) / 4);
  // e4m3: each sum is added to another; two warpgroups hide most of it under each other's products. Not fitted yet.
  if (c.dtype == DType::kE4M3) product += warpgroups * c.block_n / (c.warps > 4 ? 4.0 : 2.0);
  return product * kProductFactor * product_factor(c);
}

/// What a cluster of two computes over what its blocks would compute alone.
double padding(const MatmulProblem& p, const MatmulConfig& c) {
  const auto covered = [](int size, int block) { return static_cast<double>(round_up(size, block)); };
  return covered(p.m, c.block_m * c.cluster_m) / covered(p.m, c.block_m) * covered(p.n, c.block_n * c.cluster_n) /
         covered(p.n, c.block_n);
}

/// Clocks for one block_k of k of a tile while `active` SMs load. p as the kernel sees it.
double step_clk(const MatmulProblem& p, const MatmulConfig& c, double active, int num_sms) {
  const bool is_b_n_major = c.b_order == MatrixOrder::kRowMajor;
  const int panel = matmul_sm90_panel(c.block_n);
  const double columns = is_b_n_major ? (c.block_n + panel - 1) / panel * panel : c.block_n;
  const double a_bytes = c.block_m * alignment_factor(p.a_alignment_bytes, 1.80, 1.52, 1.24) / c.cluster_n;
  const double b_bytes = columns * alignment_factor(p.b_alignment_bytes, 1.66, 1.28, 1.19) / c.cluster_m *
                         (is_b_n_major && c.block_n % 64 != 0 ? kPanelFactor : 1);
  const double bytes = 128 * (a_bytes + b_bytes) * (c.cluster_m * c.cluster_n > 1 ? kMulticastFactor : 1);
  const double rate = std::min(kBytesPerClkSm, kBytesPerClkShare * num_sms / active);
  double sum = 0;
  for (const double clk : {product_clk(c), bytes / rate, kLatencyClk / std::max(c.stages - 1, 1)})
    sum += std::pow(clk, kStepPower);
  return std::pow(sum, 1 / kStepPower) * std::pow(padding(p, c), kPaddingPower) + kStepClk;
}

/// Clocks of a tile beside its products.
double tile_clk(const MatmulConfig& c) {
  const double elements = static_cast<double>(c.block_m) * c.block_n;
  const double clk = kTileClk + kRowClk * c.block_m + kElementClk * elements;
  if (c.num_splits > 1) return clk + kSplitClk + kSplitPartClk * c.num_splits + kSplitElementClk * elements;
  if (matmul_sm90_a_in_registers(c)) return clk + kPairElementClk * elements;
  return matmul_sm90_stores_by_tma(c) ? clk : clk + kDirectElementClk * elements;
}

double cost_us(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device, bool shares) {
  const MatmulProblem p = c.swaps_ab ? transposed(problem) : problem;
  const auto tiles = static_cast<double>(tiles_of(p, c));
  const int cluster = cluster_of(c), slots = sm90_slots(c, device.num_sms);
  const double steps = std::ceil(std::ceil(static_cast<double>(p.k) / c.block_k) / c.num_splits);
  const double full_waves = std::floor(tiles / slots), rest = tiles - full_waves * slots;
  const double wave_steps_clk = steps * step_clk(p, c, device.num_sms, device.num_sms);
  double clk = kFirstClk + full_waves * (wave_steps_clk + tile_clk(c));
  if (shares) {
    const double elements = static_cast<double>(c.block_m) * c.block_n;
    clk += rest / slots * wave_steps_clk + tile_clk(c) + kShareClk + kShareElementClk * elements;
  } else if (rest > 0) {
    clk += steps * step_clk(p, c, std::min<double>(rest * cluster, device.num_sms), device.num_sms) + tile_clk(c);
  }
  // Neither hides the other completely: between equals, less work in the SMs still wins.
  const double sms_us = clk / kClkPerUs, memory_us = matmul_bytes(problem) / kMemoryBytesPerUs;
  const double us = std::pow(std::pow(sms_us, kMemoryPower) + std::pow(memory_us, kMemoryPower), 1 / kMemoryPower);
  const bool is_cluster = c.cluster_m * c.cluster_n > 1;
  return (kLaunchUs + (is_cluster ? kClusterUs : 0) + us) * (is_cluster ? kClusterFactor : 1) *
         (c.num_splits > 1 ? kSplitFactor : 1) * (c.swaps_ab ? kSwapFactor : 1);
}

}  // namespace

int sm90_shared_tiles(const MatmulConfig& c, std::int64_t tiles, int k, int slots) {
  const std::int64_t rest = tiles % slots, steps = (std::int64_t{k} + c.block_k - 1) / c.block_k;
  // Fewer than half a wave would be parts of many blocks each: another wave is shared with them.
  const std::int64_t shared = rest == 0 ? 0 : 2 * rest >= slots ? rest : rest + slots;
  // Beyond these limits registers spill, and sharing took 25 us with 256 x 192, 12 us with 192 x 192. (128 sums and a
  // in registers do so in a block of its own, not in a cluster.)
  const int sums = c.block_m / 16 / c.warps * c.block_n / 2;
  const bool is_full = matmul_sm90_a_in_registers(c) && cluster_of(c) == 1;
  const bool is_possible = c.num_splits == 1 && tiles > slots && shared * steps <= INT32_MAX &&
                           sums <= (c.warps == 8   ? (is_full ? 96 : 128)
                                    : c.warps == 4 ? 96
                                                   : 64);
  return is_possible ? static_cast<int>(shared) : 0;
}

bool sm90_shares_tiles(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device) {
  const MatmulProblem p = c.swaps_ab ? transposed(problem) : problem;
  return sm90_shared_tiles(c, tiles_of(p, c), p.k, sm90_slots(c, device.num_sms)) > 0 &&
         cost_us(problem, c, device, true) < cost_us(problem, c, device, false);
}

double sm90_cost_us(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device) {
  return cost_us(problem, c, device, sm90_shares_tiles(problem, c, device));
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
      // Column by column, by the threads: measured for few columns only.
      if (base.d_order == MatrixOrder::kColumnMajor && !matmul_sm90_a_in_registers(base) &&
          !(s.stores_columns && columns <= 256))
        continue;
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
          const MatmulProblem p = swaps ? transposed(problem) : problem;
          c.is_persistent = tiles_of(p, c) > sm90_slots(c, device.num_sms);
          all.push_back({c, sm90_cost_us(problem, c, device)});
        }
      }
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.cost < b.cost; });
  std::vector<MatmulConfig> best;
  const auto has_blocks_of = [&best](const MatmulConfig& c) {
    return std::any_of(best.begin(), best.end(),
                       [&c](const MatmulConfig& b) { return b.block_m == c.block_m && b.block_n == c.block_n; });
  };
  for (const Candidate& c : all) {
    if (best.size() < kBestCandidates || !has_blocks_of(c.config)) best.push_back(c.config);
  }
  return best;
}

}  // namespace fovea
