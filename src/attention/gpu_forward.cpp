// SPDX-License-Identifier: Apache-2.0
#include "attention/gpu_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "cuda/launch.h"
#include "cuda/occupancy.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr int kMergeWarps = 4;  // of a block of merge.cuh, which does one row
constexpr int kMaxSplits = 128;
constexpr GpuForward kMerge = {"attention_merge", "kernels/attention/merge.cuh", "forward_merge", nullptr};

/// Blocks of one split.
std::int64_t count_blocks(const AttentionProblem& problem, const AttentionConfig& config) {
  const std::int64_t group = group_of(problem, config);
  const std::int64_t tiles = (problem.seqlen_q * group + config.block_q - 1) / config.block_q;
  const std::int64_t columns = std::max(1, ceil_div(problem.head_dim_v, config.head_dim_v));  // 1 for lse alone
  return tiles * columns * (problem.num_heads_q / group) * problem.batch;
}

/// Enough splits for two blocks per SM, each with keys enough to be worth the second kernel. On an H200, d = 128: one
/// new token against 8192 keys of 8 kv heads takes 34.1 us with 8 splits, 35.5 with 16; 131072 keys 161 us with 16.
int count_splits(const AttentionProblem& problem, const AttentionConfig& config, int num_sms) {
  const std::int64_t blocks = count_blocks(problem, config);
  const int keys_per_split = problem.seqlen_q * group_of(problem, config) <= 64 ? 1024 : 512;
  if (blocks == 0) return 1;
  const int per_sm = config.key_warps > 1 ? config.blocks_per_sm : 2;
  const std::int64_t wanted = static_cast<std::int64_t>(num_sms) * per_sm / blocks;
  const std::int64_t possible = std::min(problem.seqlen_k / keys_per_split, kMaxSplits);
  return static_cast<int>(std::max<std::int64_t>(1, std::min(wanted, possible)));
}

jit::Unit unit_of(const GpuForward& kernel, int threads, int blocks, const AttentionConfig& config) {
  jit::Unit unit;
  unit.entry = kernel.name;
  unit.header = kernel.header;
  if (kernel.defines) unit.defines = kernel.defines(config);
  unit.config = source_of(config);
  unit.parameters = fmt::format("const __grid_constant__ AttentionArgs args{}", kernel.more_parameters);
  unit.body = fmt::format("{}<config>(args{});", kernel.function, kernel.more_arguments);
  unit.threads = threads;
  unit.min_blocks_per_sm = blocks;
  return unit;
}

std::string detail_of(const AttentionConfig& config) {
  std::string text = fmt::format("{} rows x {} keys in steps of {}, {} warps", config.block_q, config.block_k,
                                 config.step_k, config.warps);
  if (config.packs_heads) text += ", query heads packed";
  if (config.is_split) text += ", keys split";
  return text;
}

/// Wide heads: a part of L2, since many short sequences would else be read again for every tile of rows (d = 256,
/// seqlen 512: 7 %; of 50 MB on an H200, 32 MiB is within 1 % and 8 MiB up to 8 % slower). With narrow ones the longer
/// tail costs more than the reads (d = 128: 3 to 4 %).
std::int64_t section_bytes(const AttentionConfig& config) {
  return config.head_dim_qk + config.head_dim_v > 256 ? std::int64_t{16} << 20 : std::int64_t{1} << 60;
}

}  // namespace

int group_of(const AttentionProblem& problem, const AttentionConfig& config) {
  return config.packs_heads && problem.num_heads_kv > 0 ? problem.num_heads_q / problem.num_heads_kv : 1;
}

int section_heads(const AttentionProblem& problem, const AttentionConfig& config, std::int64_t bytes) {
  const std::int64_t heads = problem.num_heads_q / group_of(problem, config);
  const std::int64_t of_kv_head =
      std::int64_t{problem.seqlen_k} * (problem.head_dim_qk + problem.head_dim_v) * size_bytes(problem.dtype);
  const std::int64_t most = std::max<std::int64_t>(heads * problem.batch, 1);
  const std::int64_t kv_heads = std::min(bytes / std::max<std::int64_t>(of_kv_head, 1), most);
  return static_cast<int>(std::clamp<std::int64_t>(kv_heads * heads / std::max(problem.num_heads_kv, 1), 1, most));
}

std::string source_of(const AttentionConfig& c) {
  static constexpr const char* kTypes[] = {"kF32", "kF16", "kBF16", "kI32"};
  static constexpr const char* kMasks[] = {"kNone", "kCausal", "kWindow"};
  std::string text = fmt::format("AttentionConfig{{.dtype = DType::{}, .mask = MaskKind::{}",
                                 kTypes[static_cast<int>(c.dtype)], kMasks[static_cast<int>(c.mask)]);
  const auto number = [&](const char* name, int value) {
    if (value != 0) text += fmt::format(", .{} = {}", name, value);
  };
  const auto flag = [&](const char* name, bool value) {
    if (value) text += fmt::format(", .{} = true", name);
  };
  number("head_dim_qk", c.head_dim_qk);
  number("head_dim_v", c.head_dim_v);
  number("block_q", c.block_q);
  number("block_k", c.block_k);
  number("stages", c.stages);
  number("warps", c.warps);
  flag("has_lse", c.has_lse);
  flag("has_softcap", c.has_softcap);
  flag("is_packed", c.is_packed);
  flag("has_seq_lens", c.has_seq_lens);
  flag("is_split", c.is_split);
  number("step_k", c.step_k);
  number("blocks_per_sm", c.blocks_per_sm);
  number("copy_bytes", c.copy_bytes);
  number("q_kept", c.q_kept);
  flag("packs_heads", c.packs_heads);
  number("key_warps", c.key_warps);
  number("q_stages", c.q_stages);
  flag("takes_turns", c.takes_turns);
  flag("copies_o", c.copies_o);
  flag("merges_in_cluster", c.merges_in_cluster);
  return text + "}";
}

Support supports_gpu_forward(const AttentionProblem& problem, const DeviceInfo& device) {
  if (device.device.kind != DeviceKind::kCUDA) return Support::no("runs on an NVIDIA GPU; the tensors are on a CPU");
  if (device.compute_capability < 75) {
    return Support::no(fmt::format("needs compute capability 7.5; the GPU has {}.{}", device.compute_capability / 10,
                                   device.compute_capability % 10));
  }
  if (problem.direction != Direction::kForward) return Support::no("computes the forward direction only");
  if (problem.kv_layout == KeyValueLayout::kPaged) return Support::no("reads dense and packed keys, not a page table");
  if (problem.head_dim_qk > 512 || problem.head_dim_v > 512) return Support::no("takes head_dim up to 512");
  return Support::yes();
}

AttentionConfig gpu_config(const AttentionProblem& problem) {
  AttentionConfig config;
  config.dtype = problem.dtype;
  config.mask = problem.mask.kind;
  config.has_lse = problem.wants_lse;
  config.has_softcap = problem.softcap != 0.0f;
  config.copy_bytes = std::min(problem.alignment_bytes, 16);
  return config;
}

bool wants_split(const AttentionProblem& problem, const DeviceInfo& device, const AttentionConfig& config) {
  return count_splits(problem, config, device.num_sms) > 1;
}

bool wants_packed_heads(const AttentionProblem& problem, int block_q) {
  return problem.num_heads_q > problem.num_heads_kv && problem.seqlen_q < block_q;
}

AttentionPlan prepare_gpu_forward(Runtime& runtime, const GpuForward& kernel, const DeviceInfo& device,
                                  const AttentionConfig& config) {
  const int threads = 32 * config.warps, shared_bytes = kernel.shared_bytes(config);
  check(shared_bytes <= device.shared_per_block_bytes, ErrorCode::kUnsupported, "tile",
        "a tile of {} rows x {} keys with {} stages takes {} bytes of shared memory, {} has {} per block; use smaller "
        "tiles",
        config.block_q, config.block_k, config.stages, shared_bytes, device.name, device.shared_per_block_bytes);
  jit::Compiler& compiler = runtime.impl().compiler;
  const auto compiled = compiler.compile(unit_of(kernel, threads, config.blocks_per_sm, config), device.architecture);
  AttentionPlan plan;
  plan.config = config;
  plan.detail = detail_of(config);
  plan.launch = {
      threads, shared_bytes, compiled->resources.registers_per_thread,
      cuda::occupancy(device, {threads, compiled->resources.registers_per_thread, shared_bytes}).blocks_per_sm,
      static_cast<std::int64_t>(compiled->cubin.size())};
  auto loaded = std::make_shared<LoadedForward>();
  loaded->num_sms = device.num_sms;
  loaded->has_programmatic_launch = device.compute_capability >= 90;
  if (config.is_split && !config.merges_in_cluster) {
    const AttentionConfig merge = {.dtype = config.dtype, .has_lse = config.has_lse};
    const auto compiled_merge = compiler.compile(unit_of(kMerge, 32 * kMergeWarps, 1, merge), device.architecture);
    if (device.is_present) {
      loaded->merge = runtime.impl().load(device.device, *compiled_merge, 0);
    }
  }
  if (device.is_present) {
    loaded->forward = runtime.impl().load(device.device, *compiled, shared_bytes);
  }
  plan.state = std::move(loaded);
  return plan;
}

void run_gpu_forward(Runtime& runtime, const AttentionPlan& plan, const AttentionProblem& problem,
                     const AttentionArgs& given, Stream stream) {
  constexpr std::int64_t kMaxGrid = (std::int64_t{1} << 31) - 1;
  const auto& loaded = *static_cast<const LoadedForward*>(plan.state.get());
  const int splits = plan.config.is_split ? count_splits(problem, plan.config, loaded.num_sms) : 1;
  const cuda::LaunchConfig grid = {.blocks = count_blocks(problem, plan.config) * splits,
                                   .threads = plan.launch.threads_per_block,
                                   .shared_bytes = plan.launch.shared_bytes};
  if (grid.blocks == 0) return;
  check(grid.blocks <= kMaxGrid, ErrorCode::kUnsupported, "q",
        "the call needs {} blocks, a launch has at most {}; split the batch", grid.blocks, kMaxGrid);
  AttentionArgs args = given;
  args.section_heads = section_heads(problem, plan.config, section_bytes(plan.config));
  if (!plan.config.is_split) {
    cuda::launch(*loaded.forward, grid, stream, args);
    return;
  }
  run_split(runtime, loaded, splits, problem, args, stream,
            [&](const AttentionArgs& split) { cuda::launch(*loaded.forward, grid, stream, split); });
}

void run_split(Runtime& runtime, const LoadedForward& loaded, int splits, const AttentionProblem& problem,
               const AttentionArgs& args, Stream stream,
               const std::function<void(const AttentionArgs&)>& launch_forward) {
  const std::int64_t rows = static_cast<std::int64_t>(problem.batch) * problem.num_heads_q * problem.seqlen_q;
  const std::int64_t floats = splits * rows;
  const cuda::WorkspaceLease workspace = runtime.impl().workspaces.acquire(
      loaded.forward->device, stream, sizeof(float) * floats * (problem.head_dim_v + 1));
  AttentionArgs split = args;
  split.split = {splits, static_cast<float*>(workspace.data()),
                 static_cast<float*>(workspace.data()) + floats * problem.head_dim_v};
  launch_forward(split);
  if (!loaded.merge) return;  // the kernel does it
  // Where the GPU can, the merge is launched under the forward kernel; it waits for its results itself.
  cuda::launch(*loaded.merge,
               {.blocks = rows, .threads = 32 * kMergeWarps, .programmatic = loaded.has_programmatic_launch}, stream,
               split);
}

}  // namespace fovea
