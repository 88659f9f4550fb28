// SPDX-License-Identifier: Apache-2.0
#include "matmul/matmul_sm90_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

#include "base/math.h"
#include "contract/matmul_sm90.h"
#include "matmul/matmul_sm90_cost.h"
#include "problem/describe_matmul.h"

namespace fovea {
namespace {

/// Fitted to 43 112 times on an H200, 1454 shapes and 388 kernels, so that the predicted order of what is nearly best
/// is right (docs/kernels/matmul_sm90.md). clk are SM clocks; a line is 128 bytes of a row.
constexpr double kLaunchUs = 4.681;  // launch, first loads, last stores
constexpr double kClkPerUs = 1981;
constexpr double kPowerFactor = 0.597, kPowerUs = 169.3;  // long products are bound by power: clocks fall
constexpr double kBytesPerClkSm = 100.2;                  // that one SM takes in
constexpr double kBytesPerClkShare = 82.83;               // from the L2 cache, an SM's share when all load
constexpr double kShareFill = 1.288;                      // … power of the share of SMs that load
constexpr double kLatencyClk = 1538;                      // of a load, shared by the stages in flight
constexpr double kStepPower = 4.084;                      // these hide each other, but not completely
constexpr double kStepClk = 47.65;
constexpr double kPanelFactor = 1.580;      // more bytes where tiles of b do not begin on a line
constexpr double kMulticastFactor = 1.025;  // … in a cluster
constexpr double kPresentPower = 0.110;     // of the share of a tile's lines that exist, as read from the L2 cache
constexpr double kPaddingPower = 0.380;     // of what a cluster computes beyond the product's edge
constexpr double kAbsentRowClk = 4.140, kAbsentColumnClk = 2.820;  // zeros beyond the edge, of k- and of m- or n-major
constexpr double kAbsentFewPower = 0.703, kAbsentFillPower = 1.882, kAbsentWaveFactor = 1.097;
constexpr double kMemoryBytesPerStepUs = 33.15e6;  // misses of the L2 cache, beside its hits
constexpr double kFirstClk = 1713, kRowClk = 4.145, kElementClk = 0.113;
constexpr double kHiddenEnd[] = {1.389, 1.002, 1.020};    // a tile's end before another, as products, by warpgroups
constexpr double kDirectElementClk = 0.203;               // stores without the copy engine
constexpr double kPairElementClk = 0.2;                   // … of fp32 pairs, a in registers
constexpr double kSplitClk[] = {0, 899.3, 342.9, 398.1};  // joining 2, 4, 8 parts
constexpr double kSplitFillClk = 292.5, kSplitElementClk = 0.178;
constexpr double kShareClk = 3226, kShareElementClk = 0.441;  // sending and adding sums of shared tiles
constexpr double kClusterUs = 0.406;
constexpr double kMemoryBytesPerUs = 5.336e6, kMemoryPower = 2.220;
// What the rest does not explain.
constexpr double kClusterFactor = 0.992, kSplitFactor = 1.063, kSwapFactor = 1.007;

/// By where rows begin: at multiples of 16, 32, 64 bytes, on a line.
struct ByAlignment {
  double of_16, of_32, of_64, of_128;
  double operator()(int bytes) const {
    return bytes >= 128 ? of_128 : bytes == 64 ? of_64 : bytes == 32 ? of_32 : of_16;
  }
};
// More bytes where rows do not begin on a line, as an SM takes them in and as the L2 cache reads them; k-major or not.
constexpr ByAlignment kTakenKMajor = {2.085, 1.348, 1.138, 1}, kTakenMnMajor = {2.026, 1.147, 1.145, 1};
constexpr ByAlignment kReadKMajor = {2.507, 1.746, 1.558, 1}, kReadMnMajor = {2.485, 1.600, 1.380, 1};
// What two blocks of a cluster save by sharing an operand: a power of 2.
constexpr ByAlignment kTakenShared = {0.583, -0.039, 0.255, -0.142}, kReadShared = {0.949, 0.774, 0.842, 0.543};

constexpr Sm90Shape kShapes[] = {
    {256, 192, 2, 0.962, -0.5, -4.0, 0, 0, 0, 0, 0},
    {128, 256, 2, 0.946, -4.4, -0.3, 0.7, -0.4, -0.8, 0, 2.5},
    {256, 128, 2, 0.966, -2.7, -3.3, -0.8, -4.0, -0.9, 0, 1.2},
    {192, 192, 3, 0.935, 0.5, -1.1, -1.7, -3.1, 0, 0, 0},
    {128, 192, 2, 0.919, -2.7, -1.6, 2.2, -2.8, 0.3, 0, 0.8},
    {192, 128, 3, 0.942, -1.9, -3.8, -3.7, -3.2, -3.8, 0, 0.3},
    {192, 96, 3, 0.940, 0.5, -3.8, 1.1, -0.3, 0.3, -1.4, 1.0, true},
    {128, 160, 2, 0.954, -1.1, -0.8, -0.4, -1.8, -1.3, 0, 0},
    {128, 128, 2, 0.952, -2.9, -0.5, 1.4, -0.4, -0.1, 0, -0.1},
    {64, 256, 1, 0.868, 2.0, 5.2, 3.5, 3.2, 1.5, 0, 0},
    {128, 96, 2, 1.016, 1.6, 1.1, -0.8, 0.6, 0.6, 0, -0.4},
    {64, 192, 1, 0.897, 1.2, 5.2, 7.7, 6.3, 4.7, 0, 1.9},
    {128, 64, 2, 1.127, 1.4, 0.9, -1.7, -2.1, 0, 1.3, 0.2, true},
    {64, 128, 1, 0.920, -0.9, 4.3, 5.7, 4.4, 2.3, 0, 2.2},
    {64, 96, 1, 1.069, -0.9, 0.8, 2.8, 1.6, 1.2, 0, 0.4},
    {64, 64, 1, 1.001, 0.4, -0.2, -2.2, -1.0, 0, 0.8, 0.4, true},
    {64, 32, 1, 1.062, 2.6, 1.3, -1.3, -2.1, -1.0, -1.0, 0.4, true},
    {128, 32, 2, 1.252, 0.9, -0.6, -1.1, -0.2, -0.3, 0.7, 0, true},
    {128, 16, 2, 1.272, 0.8, 0.2, -0.5, -1.7, -0.4, 0.6, 0, true},
    {64, 16, 1, 1.071, 2.7, 0.8, -3.2, -2.7, -1.4, -0.5, 0.1, true},
    {128, 8, 2, 1.135, 0, -0.6, 0.3, -2.2, 0.7, 1.3, 0, true},
    {64, 8, 1, 1.088, 0, 1.0, -0.2, 3.1, -1.3, -0.1, 0, true},
};

int cluster_of(const MatmulConfig& c) { return c.cluster_m * c.cluster_n * (c.num_splits > 1 ? c.num_splits : 1); }

const Sm90Shape* find_shape(const MatmulConfig& c) {
  const auto is_of = [&c](const Sm90Shape& s) { return s.block_m == c.block_m && s.block_n == c.block_n; };
  const Sm90Shape* found = std::find_if(std::begin(kShapes), std::end(kShapes), is_of);
  return found == std::end(kShapes) ? nullptr : found;
}

/// What the rest of the model does not explain, as a factor.
double unexplained(const MatmulConfig& c, bool shares) {
  double factor = c.swaps_ab ? kSwapFactor : 1;
  if (c.cluster_m * c.cluster_n > 1) factor *= kClusterFactor;
  if (c.num_splits > 1) factor *= kSplitFactor;
  const Sm90Shape* s = find_shape(c);
  if (!s) return factor;
  double percent = (c.swaps_ab ? s->swapped : 0) + (shares ? s->shared : 0);
  percent += c.cluster_m > 1 ? s->cluster_m : c.cluster_n > 1 ? s->cluster_n : 0;
  percent += c.num_splits == 2 ? s->splits_2 : c.num_splits == 4 ? s->splits_4 : c.num_splits == 8 ? s->splits_8 : 0;
  return factor * std::exp(percent / 100);
}

/// Clocks of the tensor cores for one block_k of k of a tile.
double product_clk(const MatmulConfig& c) {
  const int warpgroups = c.block_m / 64;
  const double product = warpgroups * 4 * std::max(c.block_n / 2.0, (64.0 + c.block_n) / 4);
  const Sm90Shape* s = find_shape(c);
  return product * (s ? s->product_factor : 1);
}

/// Tiles of a call and how they come: whole waves, and what is left.
struct Waves {
  double tiles_m, tiles_n, full, rest, steps, slots;
  double all;          // waves with steps of their own
  double filled;       // share of the SMs that have work in the last wave
  double most_filled;  // … in the first
};

Waves waves_of(const MatmulProblem& p, const MatmulConfig& c, int num_sms, bool shares) {
  const auto up = [](int size, int block) { return (size + block - 1) / block; };
  Waves w = {};
  w.tiles_m = up(p.m, c.block_m * c.cluster_m), w.tiles_n = up(p.n, c.block_n * c.cluster_n);
  w.slots = sm90_slots(c, num_sms);
  w.steps = std::ceil(std::ceil(static_cast<double>(p.k) / c.block_k) / c.num_splits);
  const double tiles = w.tiles_m * w.tiles_n * static_cast<double>(p.batch);
  w.full = std::floor(tiles / w.slots), w.rest = tiles - w.full * w.slots;
  w.all = shares ? tiles / w.slots : w.full + (w.rest > 0 ? 1 : 0);
  w.filled = std::clamp(w.rest * cluster_of(c) / num_sms, 1.0 / num_sms, 1.0);
  w.most_filled = std::min(tiles * cluster_of(c) / num_sms, 1.0);
  return w;
}

/// What a cluster of two computes over what its blocks would compute alone.
double padding(const MatmulProblem& p, const MatmulConfig& c) {
  const auto covered = [](int size, int block) { return static_cast<double>(round_up(size, block)); };
  return covered(p.m, c.block_m * c.cluster_m) / covered(p.m, c.block_m) * covered(p.n, c.block_n * c.cluster_n) /
         covered(p.n, c.block_n);
}

/// Clocks that one block_k of k of a tile takes of each unit; they run beside each other.
struct Step {
  double products, taken, latency;
  double read, missed;                 // by all SMs, from the L2 cache and from memory
  double absent_mean, absent_at_edge;  // zeros beyond the edge: a tile's mean, and what the last tile waits for
  double padding;

  /// While this share of the SMs loads, with more to multiply.
  double clk(double share, double products_clk) const {
    double sum = 0;
    for (const double x : {products_clk, taken, latency, read * share + missed}) sum += std::pow(x, kStepPower);
    return std::pow(sum, 1 / kStepPower) * padding + kStepClk;
  }
};

Step step_of(const MatmulProblem& p, const MatmulConfig& c, const Waves& w) {
  const bool is_a_k_major = c.a_order == MatrixOrder::kRowMajor, is_b_n_major = c.b_order == MatrixOrder::kRowMajor;
  const int panel = matmul_sm90_panel(c.block_n);
  const double columns =
      is_b_n_major ? round_up(c.block_n, panel) * (c.block_n % 64 != 0 ? kPanelFactor : 1) : c.block_n;
  const int a_line = p.a_alignment_bytes, b_line = p.b_alignment_bytes;
  Step s = {};
  s.products = product_clk(c);
  const double products_us = s.products * w.steps * w.all / kClkPerUs;
  s.products *= 1 + kPowerFactor * products_us / (products_us + kPowerUs);
  s.latency = kLatencyClk / std::max(c.stages - 1, 1);
  s.taken =
      128 / kBytesPerClkSm *
      (c.block_m * (is_a_k_major ? kTakenKMajor : kTakenMnMajor)(a_line)*std::pow(c.cluster_n, -kTakenShared(a_line)) +
       columns * (is_b_n_major ? kTakenMnMajor : kTakenKMajor)(b_line)*std::pow(c.cluster_m, -kTakenShared(b_line)));
  const double covered_m = w.tiles_m * c.block_m * c.cluster_m, covered_n = w.tiles_n * c.block_n * c.cluster_n;
  s.read =
      128 / kBytesPerClkShare * (c.cluster_m * c.cluster_n > 1 ? kMulticastFactor : 1) *
      (c.block_m * (is_a_k_major ? kReadKMajor : kReadMnMajor)(a_line)*std::pow(c.cluster_n, -kReadShared(a_line)) *
           std::pow(p.m / covered_m, kPresentPower) +
       columns * (is_b_n_major ? kReadMnMajor : kReadKMajor)(b_line)*std::pow(c.cluster_m, -kReadShared(b_line)) *
           std::pow(p.n / covered_n, kPresentPower));
  s.missed = matmul_bytes(p) / kMemoryBytesPerStepUs * kClkPerUs / (w.steps * w.all);
  const auto add_absent = [&s](double absent, double blocks, int block, bool is_k_major) {
    const double clk = is_k_major ? kAbsentRowClk : kAbsentColumnClk;
    s.absent_mean += kAbsentWaveFactor * clk * absent / blocks;
    s.absent_at_edge += clk * std::min<double>(absent, block) * std::pow(blocks, -kAbsentFewPower);
  };
  add_absent(covered_m - p.m, w.tiles_m * c.cluster_m, c.block_m, is_a_k_major);
  add_absent(covered_n - p.n, w.tiles_n * c.cluster_n, c.block_n, !is_b_n_major);
  s.padding = std::pow(padding(p, c), kPaddingPower);
  return s;
}

/// Clocks of a tile beside its products.
double tile_clk(const MatmulConfig& c, double filled) {
  const double elements = static_cast<double>(c.block_m) * c.block_n;
  const double clk = kRowClk * c.block_m + kElementClk * elements;
  if (c.num_splits > 1)
    return clk + kSplitClk[std::bit_width(static_cast<unsigned>(c.num_splits)) - 1] +
           kSplitFillClk * filled * c.num_splits + kSplitElementClk * elements;
  if (matmul_sm90_a_in_registers(c)) return clk + kPairElementClk * elements;
  return matmul_sm90_stores_by_tma(c) ? clk : clk + kDirectElementClk * elements;
}

/// Clocks from the first instruction to the last.
double grid_clk(const MatmulProblem& p, const MatmulConfig& c, int num_sms, bool shares) {
  const Waves w = waves_of(p, c, num_sms, shares);
  const Step s = step_of(p, c, w);
  const double tile = tile_clk(c, w.most_filled);
  const double elements = static_cast<double>(c.block_m) * c.block_n;
  // In a wave before another one a tile's end is only more for the tensor cores to wait for, beside the next loads.
  const double end = kHiddenEnd[c.warps / 4 - 1] * tile / w.steps;
  const double wave = w.steps * (s.clk(1, s.products + end) + s.absent_mean);
  const double open_wave = w.steps * (s.clk(1, s.products) + s.absent_mean);
  if (shares)
    return kFirstClk + w.full * wave + w.rest / w.slots * open_wave + tile + kShareClk + kShareElementClk * elements;
  if (w.rest > 0) {
    const double absent = s.absent_at_edge * std::pow(w.filled, kAbsentFillPower);
    return kFirstClk + w.full * wave + w.steps * (s.clk(std::pow(w.filled, kShareFill), s.products) + absent) + tile;
  }
  if (w.full == 1) return kFirstClk + w.steps * (s.clk(1, s.products) + s.absent_at_edge) + tile;
  return kFirstClk + (w.full - 1) * wave + open_wave + tile;
}

}  // namespace

std::span<const Sm90Shape> sm90_shapes() { return kShapes; }

double sm90_predicted_us(const MatmulProblem& problem, const MatmulConfig& c, const DeviceInfo& device, bool shares) {
  if (c.dtype == DType::kE4M3) return sm90_e4m3_predicted_us(problem, c, device);
  const MatmulProblem p = c.swaps_ab ? transposed(problem) : problem;
  // Neither hides the other completely: between equals, less work in the SMs still wins.
  const double sms_us = grid_clk(p, c, device.num_sms, shares) / kClkPerUs;
  const double memory_us = matmul_bytes(problem) / kMemoryBytesPerUs;
  const double us = std::pow(std::pow(sms_us, kMemoryPower) + std::pow(memory_us, kMemoryPower), 1 / kMemoryPower);
  return (kLaunchUs + (c.cluster_m * c.cluster_n > 1 ? kClusterUs : 0) + us) * unexplained(c, shares);
}

}  // namespace fovea
