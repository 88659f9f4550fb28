// SPDX-License-Identifier: Apache-2.0
// The card of the CPU kernels: src/cpu/kernels, one unit per instruction set, behind one table of functions each.
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "attention/cpu_schedule.h"
#include "attention/kernels.h"
#include "base/check.h"
#include "cpu/isa.h"
#include "runtime.h"

namespace fovea {
namespace {

// Head dimensions and tiles beyond these are mistakes: the scratch of a thread grows with their product.
constexpr int kMaxHeadDim = 1 << 16;
constexpr int kMaxBlockRows = 1 << 12;

Support supports(const AttentionProblem& problem, const DeviceInfo& device) {
  if (device.device.kind != DeviceKind::kCPU) return Support::no("runs on a CPU; the tensors are on a GPU");
  if (problem.direction != Direction::kForward) return Support::no("computes the forward direction only");
  if (!is_floating(problem.dtype)) {
    return Support::no(fmt::format("takes fp32, fp16 and bf16; the tensors are {}", name_of(problem.dtype)));
  }
  if (problem.kv_layout == KeyValueLayout::kPaged) return Support::no("reads dense and packed keys, not a page table");
  if (problem.head_dim_qk > kMaxHeadDim || problem.head_dim_v > kMaxHeadDim) {
    return Support::no(fmt::format("takes head_dim up to {}", kMaxHeadDim));
  }
  return Support::yes();
}

std::vector<AttentionConfig> candidates(const AttentionProblem& problem, const DeviceInfo& device) {
  AttentionConfig config;
  config.dtype = problem.dtype;
  config.mask = problem.mask.kind;
  config.head_dim_qk = problem.head_dim_qk;
  config.head_dim_v = problem.head_dim_v;
  config.has_lse = problem.wants_lse;
  config.has_softcap = problem.softcap != 0.0f;
  config.is_packed = problem.is_packed_q || problem.kv_layout == KeyValueLayout::kPacked;
  config.has_seq_lens = problem.has_seq_lens_q || problem.has_seq_lens_k;
  const int heads_per_kv = problem.num_heads_kv > 0 ? problem.num_heads_q / problem.num_heads_kv : 1;
  const cpu::Kernels& kernels = cpu::unit_for(device.isa, problem.dtype).kernels();
  kernels.attention_tile(&config, problem.seqlen_q, problem.seqlen_k, heads_per_kv);
  return {config};
}

AttentionPlan prepare(Runtime&, const AttentionProblem& problem, const DeviceInfo& device,
                      const AttentionConfig& config) {
  check(config.block_q >= 1 && config.block_q <= kMaxBlockRows, ErrorCode::kInvalidArgument, "tile.block_q",
        "tile.block_q is {}, must be 1 to {} rows on a CPU; 0 leaves it to the library", config.block_q, kMaxBlockRows);
  check(config.block_k >= 1 && config.block_k <= kMaxBlockRows, ErrorCode::kInvalidArgument, "tile.block_k",
        "tile.block_k is {}, must be 1 to {} keys on a CPU; 0 leaves it to the library", config.block_k, kMaxBlockRows);
  check(config.stages == 0 && config.warps == 0, ErrorCode::kInvalidArgument, "tile",
        "tile.stages is {} and tile.warps is {}, both must be 0 on a CPU", config.stages, config.warps);
  const cpu::Kernels& kernels = cpu::unit_for(device.isa, problem.dtype).kernels();
  AttentionPlan plan;
  plan.config = config;
  plan.state = std::shared_ptr<const void>(std::shared_ptr<const void>(), &kernels);  // the table lives for ever
  plan.tile_rows = kernels.attention_tile_rows;
  plan.detail = fmt::format("{}, {} rows x {} keys, {} thread{}", kernels.isa, config.block_q, config.block_k,
                            device.num_threads, device.num_threads == 1 ? "" : "s");
  return plan;
}

void run(Runtime& runtime, const AttentionPlan& plan, const AttentionProblem&, const AttentionArgs& args, Stream) {
  const auto& kernels = *static_cast<const cpu::Kernels*>(plan.state.get());
  run_cpu_schedule(runtime.impl().pool, kernels, args, plan.config);
}

}  // namespace

const AttentionKernel attention_forward_cpu = {"attention_forward_cpu", supports, candidates, prepare, run};

}  // namespace fovea
