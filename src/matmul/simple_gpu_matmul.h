// SPDX-License-Identifier: Apache-2.0
// What the cards of matmul_sm80 and matmul_fp32 share: a tile per block, k split through the workspace, the launch.
#pragma once

#include <span>

#include "matmul/gpu_matmul.h"

namespace fovea {

/// The parts of a card that differ.
struct SimpleGpuMatmul {
  std::string_view name;    // entry point, device function and card
  std::string_view header;  // "kernels/matmul/matmul_sm80.cuh"
  int (*shared_bytes)(const MatmulConfig&);
};

/// Of the whole call: with the batch, without splits of k.
std::int64_t tiles_of(const MatmulProblem& problem, const MatmulConfig& config);

/// A config whose k is split through the workspace, or (1) not.
MatmulConfig with_splits(const MatmulConfig& config, int splits);

struct SimpleCandidate {
  MatmulConfig config;
  double clk;  // predicted
};
std::vector<SimpleCandidate> cheapest_first(std::vector<SimpleCandidate> candidates);
std::vector<MatmulConfig> configs_of(std::span<const SimpleCandidate> candidates);

/// What matmul_sm80 predicts times from, in clocks. SMs have several blocks, which fill a last wave's gaps.
struct SimpleCost {
  double (*clk_per_step)(const MatmulConfig&);  // of one SM, for block_k steps of k of one tile
  double block_clk;                             // first loads and stores of a tile
  double merge_clk;                             // the second launch, where k is split …
  double merge_element_clk;                     // … and each part's element of d, for one SM
  double min_steps;                             // of a part of k
};

/// Orders configs (block, warps and stages filled in) by predicted time, and lets each split k where its tiles leave
/// SMs idle.
std::vector<SimpleCandidate> simple_candidates(const MatmulProblem& problem, const DeviceInfo& device,
                                               std::span<const MatmulConfig> configs, const SimpleCost& cost);

MatmulPlan prepare_simple_matmul(Runtime& runtime, const SimpleGpuMatmul& kernel, const DeviceInfo& device,
                                 const MatmulConfig& config);

/// Enqueues the call: one launch, or two where k is split.
void run_simple_matmul(Runtime& runtime, const MatmulPlan& plan, const MatmulArgs& args, Stream stream);

}  // namespace fovea
