// SPDX-License-Identifier: Apache-2.0
// What the GPU cards of attention forward share: compiling a config, the grid, splitting keys, and the launch.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cuda/module.h"
#include "plan/attention_plan.h"

namespace fovea {

/// The parts of a card that differ from kernel to kernel.
struct GpuForward {
  std::string_view name;      // entry point and card
  std::string_view header;    // "kernels/attention/forward_sm80.cuh"
  std::string_view function;  // device function template in it: "forward_sm80"
  int (*shared_bytes)(const AttentionConfig&);
  std::string_view more_parameters = {};  // of the kernel, behind its args: ", const __grid_constant__ X x"
  std::string_view more_arguments = {};   // of the function: ", x"
  std::string (*defines)(const AttentionConfig&) = nullptr;  // see jit::Unit
};

/// A plan's own state.
struct LoadedForward {
  std::shared_ptr<const cuda::Kernel> forward;
  std::shared_ptr<const cuda::Kernel> merge;  // only if the config splits
  int num_sms = 0;
  bool has_programmatic_launch = false;
};

/// A designated initialiser that compiles to this config. Fields at their default are left out.
std::string source_of(const AttentionConfig& config);

/// The reasons that hold for every GPU forward card; "yes" leaves the rest to the card.
Support supports_gpu_forward(const AttentionProblem& problem, const DeviceInfo& device);

/// Fills what follows from the problem: dtype, mask, options, alignment.
AttentionConfig gpu_config(const AttentionProblem& problem);

/// True if the tiles of q are too few to fill the GPU and the keys are many enough to be shared out.
bool wants_split(const AttentionProblem& problem, const DeviceInfo& device, const AttentionConfig& config);

/// Packs the query heads of a kv head into the rows of a tile where a tile would else be mostly empty.
bool wants_packed_heads(const AttentionProblem& problem, int block_q);

/// Compiles (or finds) the kernel, and loads it if the device is there.
AttentionPlan prepare_gpu_forward(Runtime& runtime, const GpuForward& kernel, const DeviceInfo& device,
                                  const AttentionConfig& config);

/// The query heads that share the rows of a tile: 1 unless packed.
int group_of(const AttentionProblem& problem, const AttentionConfig& config);

/// AttentionArgs::section_heads: as many as have their keys and values in `bytes` of L2 at once.
int section_heads(const AttentionProblem& problem, const AttentionConfig& config, std::int64_t bytes);

/// Calls launch_forward(args) with the partial results' places filled in, and merges them.
void run_split(Runtime& runtime, const LoadedForward& loaded, int splits, const AttentionProblem& problem,
               const AttentionArgs& args, Stream stream,
               const std::function<void(const AttentionArgs&)>& launch_forward);

/// Enqueues the call: one launch, or two where keys are split.
void run_gpu_forward(Runtime& runtime, const AttentionPlan& plan, const AttentionProblem& problem,
                     const AttentionArgs& args, Stream stream);

}  // namespace fovea
