// SPDX-License-Identifier: Apache-2.0
#include "matmul/matmul_sm90_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "contract/matmul_sm90.h"
#include "matmul/gpu_matmul.h"
#include "matmul/matmul_sm90_model.h"
#include "problem/describe_matmul.h"

namespace fovea {
namespace {

constexpr int kMinStages = 4, kMaxStages = 8, kMaxNarrowStages = 12;  // more only take shared memory
constexpr double kLargeOutput = 4096.0 * 2048;  // from here on tiles below 128 x 128 only reread operands
constexpr std::size_t kBestCandidates = 12;     // then the best of each other tile, for callers that name their blocks

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

/// Registers of a thread for sums that leave room for the rest. e4m3 has two sets of them, the second of them by halves
/// if need be, and half as many numbers again where every column has scales of its own; joining parts of k takes some
/// too, and so does a in registers, of 128 rows more than of 64.
int max_sums(const MatmulConfig& c, int groups) {
  const bool is_split = c.num_splits > 1;
  // fp32, or rows that the copy engine cannot store: 192 sums spill 24 to 80 bytes then.
  const bool stores_by_threads = c.dtype == DType::kF32 || c.d_copy_bytes < 16;
  const int all = groups == 3 ? 96 : stores_by_threads || (is_split && c.dtype != DType::kE4M3) ? 128 : 192;
  const bool has_column_scales = c.scale == ScaleKind::kPerBlock && c.b_scale_lines == 1;
  const int share = 2 + (has_column_scales ? 1 : 0) + (is_split ? 1 : 0);
  if (matmul_sm90_a_in_registers(c) && is_split && c.block_m > 64 * groups) return 96;
  if (c.dtype != DType::kE4M3) return all;
  // By halves; with scales per block, with c or with stores by threads some words would spill.
  const bool has_halves = all == 192 && !is_split && c.scale != ScaleKind::kPerBlock && !c.has_c;
  return has_halves ? 128 : all / share;
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
  // Two blocks of a narrow tile fit into an SM. Those of no cluster that stay take one each.
  constexpr int kSmBytes = 228 * 1024, kReservedBytes = 1024;
  const bool is_narrow = 2 * (matmul_sm90_layout(c).total_bytes + kReservedBytes) <= kSmBytes;
  const int per_sm = cluster > 1 && is_narrow ? 2 : 1;
  // Clusters of 4 and more must fit into a group of SMs, and leave some of it idle: 30 and 15 ran at once on 132 SMs.
  return std::max(1, (cluster <= 2 ? num_sms : num_sms * 10 / 11) / cluster) * per_sm;
}

int sm90_shared_tiles(const MatmulConfig& c, std::int64_t tiles, int k, int slots) {
  const std::int64_t rest = tiles % slots, steps = (std::int64_t{k} + c.block_k - 1) / c.block_k;
  // Fewer than half a wave would be parts of many blocks each: another wave is shared with them.
  const std::int64_t shared = rest == 0 ? 0 : 2 * rest >= slots ? rest : rest + slots;
  // Beyond these limits registers spill, and sharing took 25 us with 256 x 192, 12 us with 192 x 192. (128 sums and a
  // in registers do so in a block of its own, not in a cluster.) With e4m3 it took 6 to 30 % longer in 30 shapes.
  const int sums = c.block_m / 16 / c.warps * c.block_n / 2;
  const bool is_full = matmul_sm90_a_in_registers(c) && cluster_of(c) == 1;
  const bool is_possible = c.dtype != DType::kE4M3 && c.num_splits == 1 && tiles > slots &&
                           shared * steps <= INT32_MAX &&
                           sums <= (c.warps == 8   ? (is_full ? 96 : 128)
                                    : c.warps == 4 ? 96
                                                   : 64);
  return is_possible ? static_cast<int>(shared) : 0;
}

bool sm90_shares_tiles(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device) {
  const MatmulProblem p = c.swaps_ab ? transposed(problem) : problem;
  return sm90_shared_tiles(c, tiles_of(p, c), p.k, sm90_slots(c, device.num_sms)) > 0 &&
         sm90_predicted_us(problem, c, device, true) < sm90_predicted_us(problem, c, device, false);
}

double sm90_cost_us(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device) {
  return sm90_predicted_us(problem, c, device, sm90_shares_tiles(problem, c, device));
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
    for (const Sm90Shape& s : sm90_shapes()) {
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
