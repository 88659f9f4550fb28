// SPDX-License-Identifier: Apache-2.0
// The card of kernels/attention/forward_sm80.cuh: fp16 and bf16 by mma.sync, from Turing (fp16) to Blackwell.
#include <fmt/format.h>

#include <algorithm>

#include "attention/gpu_forward.h"
#include "attention/kernels.h"
#include "base/check.h"
#include "base/math.h"

namespace fovea {
namespace {

constexpr int kMaxValueSlice = 256;  // columns of v per block: its o must fit in registers
constexpr int kShortRows = 64;       // rows per kv head up to which a call is bound by reading keys and values

constexpr GpuForward kKernel = {"attention_forward_sm80", "kernels/attention/forward_sm80.cuh", "forward_sm80",
                                forward_sm80_shared_bytes};

struct Tile {
  int block_q, block_k, step_k, stages, warps, q_kept, blocks_per_sm, key_warps = 1;
};

/// Best first; measured on an H200 (docs/kernels/attention_forward_sm80.md), elsewhere chosen by shared memory and
/// occupancy. head_dim is the larger of the two as compiled.
std::vector<Tile> long_tiles(int head_dim, MaskKind mask, const DeviceInfo& device) {
  const bool is_large = device.shared_per_sm_bytes >= 160 << 10;   // A100, Hopper, data-center Blackwell
  const bool is_larger = device.shared_per_sm_bytes >= 200 << 10;  // two blocks of 96 KiB
  if (!device.has_cp_async) {  // copies wait in registers: 16 rows per warp leave room for them
    if (head_dim <= 64) return {{64, 64, 64, 2, 4, 4, 1}};
    if (head_dim <= 128) return {{64, 32, 32, 2, 4, 0, 1}};
    if (head_dim <= 256) return {{64, 32, 32, 1, 4, 0, 1}};
    return {{32, 16, 16, 1, 2, 0, 1}};
  }
  if (head_dim <= 64) {
    if (is_large) return {{128, 128, 64, 2, 4, 4, 2}, {128, 64, 32, 2, 4, 0, 3}};
    return {{128, 64, 64, 2, 4, 4, 2}, {64, 64, 64, 2, 4, 4, 1}};
  }
  if (head_dim <= 128) {
    // Without a mask one buffer and a step of 64 keys is 3 % faster; with one, skipping by 32 keys is worth 3 % at 512.
    const Tile unmasked = {128, 64, 64, 1, 4, 0, 2};
    if (is_larger && mask == MaskKind::kNone) return {unmasked, {128, 64, 32, 2, 4, 2, 2}};
    if (is_larger) return {{128, 64, 32, 2, 4, 2, 2}, unmasked};
    if (is_large) return {unmasked, {128, 32, 32, 2, 4, 2, 2}};
    return {{128, 32, 32, 1, 4, 2, 2}, {64, 32, 32, 2, 4, 0, 2}, {64, 32, 32, 1, 4, 0, 1}};
  }
  if (head_dim <= 192) return {{128, 64, 64, 2, 8, 8, 1}, {64, 64, 64, 1, 4, 4, 1}, {64, 32, 32, 1, 4, 0, 1}};
  if (head_dim <= 256) {
    // Two small blocks per SM hide each other's start; a mask needs the registers that more kept q would take.
    if (is_larger) return {{64, 64, 64, 1, 4, mask == MaskKind::kNone ? 8 : 2, 2}, {128, 64, 64, 2, 8, 8, 1}};
    return {{128, 64, 64, 2, 8, 8, 1}, {128, 64, 64, 1, 8, 4, 1}, {64, 64, 64, 1, 4, 4, 1}, {64, 32, 32, 1, 4, 0, 1}};
  }
  return {{64, 32, 32, 2, 4, 0, 1}, {64, 32, 32, 1, 4, 0, 1}, {32, 16, 16, 1, 2, 0, 1}};
}

/// Few rows: small tiles of q, buffered keys.
std::vector<Tile> short_tiles(int head_dim) {
  if (head_dim <= 128) return {{64, 64, 64, 2, 4, 0, 2}, {64, 32, 32, 2, 4, 0, 1}};
  if (head_dim <= 256) return {{64, 32, 32, 2, 4, 0, 1}, {64, 32, 32, 1, 4, 0, 1}};
  return {{64, 32, 32, 2, 4, 0, 1}, {32, 16, 16, 1, 2, 0, 1}};
}

/// Up to 16 rows per kv head, which all warps share, up to d = 128. One block per SM and much in flight where there are
/// not more tiles than SMs: least to merge, and nothing at all without splits. Else two blocks.
std::vector<Tile> one_row_tiles(std::int64_t tiles, int num_sms) {
  const Tile deep = {16, 128, 16, 3, 8, 8, 1, 8}, two = {16, 64, 16, 2, 4, 8, 2, 4};
  if (tiles <= num_sms) return {deep, two};
  return {two, deep};
}

Support supports(const AttentionProblem& problem, const DeviceInfo& device) {
  if (Support common = supports_gpu_forward(problem, device); !common) return common;
  if (problem.dtype != DType::kF16 && problem.dtype != DType::kBF16) {
    return Support::no("takes fp16 and bf16; fp32 runs in attention_forward_fp32");
  }
  if (problem.dtype == DType::kBF16 && !device.has_bf16_mma) {
    return Support::no(
        fmt::format("{} has no bf16 products (sm_80 has); convert to fp16 or fp32", device.architecture));
  }
  return Support::yes();
}

/// Parts of o in shared memory are merged and stored four columns at a time.
bool can_merge_parts(const AttentionProblem& problem) {
  return problem.head_dim_v > 0 && problem.head_dim_v <= kMaxValueSlice && problem.head_dim_v % 4 == 0 &&
         problem.alignment_bytes >= 8;
}

std::vector<AttentionConfig> candidates(const AttentionProblem& problem, const DeviceInfo& device) {
  AttentionConfig config = gpu_config(problem);
  config.head_dim_qk = static_cast<int>(round_up(problem.head_dim_qk, 16));
  config.head_dim_v = std::clamp(static_cast<int>(round_up(problem.head_dim_v, 16)), 16, kMaxValueSlice);
  const int head_dim = std::max(config.head_dim_qk, config.head_dim_v);
  const int heads_per_kv = problem.num_heads_kv > 0 ? problem.num_heads_q / problem.num_heads_kv : 1;
  const std::int64_t rows_per_kv = static_cast<std::int64_t>(problem.seqlen_q) * heads_per_kv;
  const bool is_short = rows_per_kv <= kShortRows && device.has_cp_async;
  const bool is_one_row_tile = is_short && rows_per_kv <= 16 && head_dim <= 128 && can_merge_parts(problem);
  const std::int64_t kv_heads = static_cast<std::int64_t>(problem.batch) * problem.num_heads_kv;
  std::vector<AttentionConfig> found;
  for (const Tile& tile : is_one_row_tile ? one_row_tiles(kv_heads, device.num_sms)
                          : is_short      ? short_tiles(head_dim)
                                          : long_tiles(head_dim, problem.mask.kind, device)) {
    config.block_q = tile.block_q;
    config.block_k = tile.block_k;
    config.step_k = tile.step_k;
    config.stages = tile.stages;
    config.warps = tile.warps;
    config.q_kept = std::min(tile.q_kept, config.head_dim_qk / 16);
    config.blocks_per_sm = tile.blocks_per_sm;
    config.key_warps = tile.key_warps;
    config.packs_heads = wants_packed_heads(problem, tile.block_q);
    config.is_split = wants_split(problem, device, config);
    if (forward_sm80_shared_bytes(config) > device.shared_per_block_bytes) continue;
    found.push_back(config);
    if (found.size() == 2) break;  // the best and one for the tuner; each costs a second in the compile ring
  }
  return found;
}

/// A caller's tile may be anything; the kernel takes whole 16-row tiles per warp and whole steps.
AttentionConfig checked(AttentionConfig config) {
  if (config.key_warps > 1 && (config.block_q != 16 || config.stages == 1)) config.key_warps = 1;
  if (config.key_warps > 1) config.key_warps = config.warps;
  check(config.warps >= 1 && config.warps <= 16, ErrorCode::kInvalidArgument, "tile.warps",
        "tile.warps is {}, must be 1 to 16", config.warps);
  const int rows = 16 * config.warps / std::max(config.key_warps, 1);
  check(config.block_q >= rows && config.block_q % rows == 0, ErrorCode::kInvalidArgument, "tile.block_q",
        "tile.block_q is {}, must be a multiple of 16 per warp ({})", config.block_q, rows);
  check(config.block_k >= 16 && config.block_k % 16 == 0, ErrorCode::kInvalidArgument, "tile.block_k",
        "tile.block_k is {}, must be a multiple of 16", config.block_k);
  check(config.stages >= 1 && config.stages <= 8, ErrorCode::kInvalidArgument, "tile.stages",
        "tile.stages is {}, must be 1 to 8", config.stages);
  if (config.stages == 1) config.step_k = config.block_k;
  while (config.block_k % config.step_k != 0) config.step_k -= 16;
  return config;
}

AttentionPlan prepare(Runtime& runtime, const AttentionProblem&, const DeviceInfo& device,
                      const AttentionConfig& config) {
  return prepare_gpu_forward(runtime, kKernel, device, checked(config));
}

}  // namespace

const AttentionKernel attention_forward_sm80 = {kKernel.name, supports, candidates, prepare, run_gpu_forward};

}  // namespace fovea
