// SPDX-License-Identifier: Apache-2.0
// The times of matmul_sm90 with e4m3: a simpler form than that of 16 bits, fitted to fewer times.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/math.h"
#include "contract/matmul_sm90.h"
#include "matmul/gpu_matmul.h"
#include "matmul/matmul_sm90_model.h"
#include "problem/describe_matmul.h"

namespace fovea {
namespace {

/// What depends on e4m3 (the tiles' factors, kMulticastFactor, kDirectElementClk) fitted to 3 600 times of 98 shapes on
/// an H200, the rest to earlier times of 16 bits (docs/kernels/matmul_sm90.md). clk are SM clocks.
constexpr double kLaunchUs = 5.1, kClusterUs = 0.51, kClkPerUs = 1816;
constexpr double kProductFactor = 1.15;   // over the tensor cores' rate
constexpr double kBytesPerClkSm = 123;    // from the L2 cache, one SM
constexpr double kBytesPerClkShare = 59;  // … when all SMs load
constexpr double kLatencyClk = 1216;      // of a load, shared by the stages in flight
constexpr double kStepPower = 3.10;       // these three hide each other, but not completely
constexpr double kStepClk = 42;
constexpr double kMulticastFactor = 0.80;  // more bytes in a cluster
constexpr double kPaddingPower = 0.54;     // of what a cluster computes beyond the product's edge
constexpr double kFirstClk = 1882, kTileClk = 11, kRowClk = 0.08, kElementClk = 0.0936;
constexpr double kDirectElementClk = 0.30;                                      // stores without the copy engine
constexpr double kSplitClk = 62, kSplitPartClk = 94, kSplitElementClk = 0.192;  // joining parts
constexpr double kMemoryBytesPerUs = 5.00e6, kMemoryPower = 3.36;
// What the rest does not explain: between equals the simpler one.
constexpr double kClusterFactor = 1.02, kSplitFactor = 1.08, kSwapFactor = 1.02;

struct TileFactor {
  int block_m, block_n;
  double factor;  // of this tile's products
};
constexpr TileFactor kTileFactors[] = {{128, 256, 0.81},  {256, 128, 0.83},  {128, 192, 0.755}, {192, 96, 0.82},
                                       {128, 160, 0.815}, {128, 128, 0.785}, {64, 256, 0.86},   {128, 96, 0.83},
                                       {64, 192, 0.90},   {128, 64, 0.95},   {64, 128, 0.94},   {64, 96, 1.02},
                                       {64, 64, 0.88},    {64, 32, 0.71},    {128, 32, 1.03},   {128, 16, 1.22},
                                       {64, 16, 1.43},    {128, 8, 1.42},    {64, 8, 1.20}};

/// Clocks of the tensor cores for one block_k of k of a tile, and what is left of adding each sum to another.
double product_clk(const MatmulConfig& c) {
  const int warpgroups = c.block_m / 64;
  const double products = warpgroups * 4 * std::max(c.block_n / 2.0, (64.0 + c.block_n) / 4);
  const double additions = warpgroups * c.block_n / (c.warps > 4 ? 4.0 : 2.0);
  const auto* tile = std::find_if(std::begin(kTileFactors), std::end(kTileFactors), [&c](const TileFactor& t) {
    return t.block_m == c.block_m && t.block_n == c.block_n;
  });
  return (products + additions) * kProductFactor * (tile == std::end(kTileFactors) ? 1 : tile->factor);
}

/// More bytes where rows do not begin on a line of 128.
double alignment_factor(int bytes, double of_16, double of_32, double of_64) {
  return bytes >= 128 ? 1.0 : bytes == 64 ? of_64 : bytes == 32 ? of_32 : of_16;
}

/// What a cluster of two computes over what its blocks would compute alone.
double padding(const MatmulProblem& p, const MatmulConfig& c) {
  const auto covered = [](int size, int block) { return static_cast<double>(round_up(size, block)); };
  return covered(p.m, c.block_m * c.cluster_m) / covered(p.m, c.block_m) * covered(p.n, c.block_n * c.cluster_n) /
         covered(p.n, c.block_n);
}

/// Clocks for one block_k of k of a tile while `active` SMs load. p as the kernel sees it.
double step_clk(const MatmulProblem& p, const MatmulConfig& c, double active, int num_sms) {
  const double a_bytes = c.block_m * alignment_factor(p.a_alignment_bytes, 1.80, 1.52, 1.24) / c.cluster_n;
  const double b_bytes = c.block_n * alignment_factor(p.b_alignment_bytes, 1.66, 1.28, 1.19) / c.cluster_m;
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
  return matmul_sm90_stores_by_tma(c) ? clk : clk + kDirectElementClk * elements;
}

}  // namespace

double sm90_e4m3_predicted_us(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device) {
  const MatmulProblem p = c.swaps_ab ? transposed(problem) : problem;
  const auto up = [](int size, int block) -> double { return ceil_div(size, block); };
  const double tiles =
      up(p.m, c.block_m * c.cluster_m) * up(p.n, c.block_n * c.cluster_n) * static_cast<double>(p.batch);
  const int cluster = c.cluster_m * c.cluster_n * c.num_splits;
  // Clusters of 4 and more leave some SMs idle.
  const int slots = std::max(1, (cluster <= 2 ? device.num_sms : device.num_sms * 10 / 11) / cluster);
  const double steps = std::ceil(up(p.k, c.block_k) / c.num_splits);
  const double full_waves = std::floor(tiles / slots), rest = tiles - full_waves * slots;
  double clk = kFirstClk + full_waves * (steps * step_clk(p, c, device.num_sms, device.num_sms) + tile_clk(c));
  if (rest > 0) {
    clk += steps * step_clk(p, c, std::min<double>(rest * cluster, device.num_sms), device.num_sms) + tile_clk(c);
  }
  // Neither hides the other completely: between equals, less work in the SMs still wins.
  const double sms_us = clk / kClkPerUs, memory_us = matmul_bytes(problem) / kMemoryBytesPerUs;
  const double us = std::pow(std::pow(sms_us, kMemoryPower) + std::pow(memory_us, kMemoryPower), 1 / kMemoryPower);
  const bool is_cluster = c.cluster_m * c.cluster_n > 1;
  return (kLaunchUs + (is_cluster ? kClusterUs : 0) + us) * (is_cluster ? kClusterFactor : 1) *
         (c.num_splits > 1 ? kSplitFactor : 1) * (c.swaps_ab ? kSwapFactor : 1);
}

}  // namespace fovea
