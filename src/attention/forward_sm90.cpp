// SPDX-License-Identifier: Apache-2.0
// The card of kernels/attention/forward_sm90.cuh: fp16 and bf16 by warpgroup products on Hopper.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "attention/forward_sm90_tiles.h"
#include "attention/gpu_forward.h"
#include "attention/kernels.h"
#include "base/check.h"
#include "base/math.h"
#include "contract/tensor_maps.h"
#include "cuda/launch.h"
#include "cuda/tensor_map.h"
#include "runtime.h"

namespace fovea {
namespace {

/// The widths of its products, so that NVRTC need not read the others (wgmma_registers.cuh).
std::string product_widths(const AttentionConfig& config) {
  return fmt::format("#define FOVEA_WGMMA_WIDTHS {:#x}\n", 1 << config.block_k / 16 | 1 << config.head_dim_v / 16);
}

constexpr GpuForward kKernel = {"attention_forward_sm90",
                                "kernels/attention/forward_sm90.cuh",
                                "forward_sm90",
                                forward_sm90_shared_bytes,
                                ", const __grid_constant__ ForwardSm90Args more",
                                ", more",
                                product_widths};

constexpr int kWarpRows = 16;

int warps_of(int block_q) { return block_q / kWarpRows + 4; }

constexpr std::int64_t kFewBytes = 64 << 20;
constexpr std::int64_t kSectionBytes = 32 << 20;

/// Up to 64 rows per kv head.
bool is_short(const AttentionProblem& problem) {
  const int heads_per_kv = problem.num_heads_kv > 0 ? problem.num_heads_q / problem.num_heads_kv : 1;
  return static_cast<std::int64_t>(problem.seqlen_q) * heads_per_kv <= 64;
}

std::int64_t key_value_bytes(const AttentionProblem& problem) {
  return 2 * static_cast<std::int64_t>(problem.batch) * problem.seqlen_k * problem.num_heads_kv *
         (problem.head_dim_qk + problem.head_dim_v);
}

int rows_per_tile(const AttentionProblem& problem, const AttentionConfig& config) {
  const int group = group_of(problem, config);
  return config.block_q / group * group;
}

/// Of one split.
std::int64_t count_tiles(const AttentionProblem& problem, const AttentionConfig& config) {
  const std::int64_t group = group_of(problem, config), rows = rows_per_tile(problem, config);
  return (problem.seqlen_q * group + rows - 1) / rows * (problem.num_heads_q / group) * problem.batch;
}

/// The number that ends first, counting blocks of keys in the busiest place; a tile costs some beside its keys, and a
/// merge the launch of a kernel.
int best_splits(const AttentionProblem& problem, const AttentionConfig& config, int num_sms) {
  constexpr int kMaxSplits = 128;
  const std::int64_t tiles = count_tiles(problem, config), places = std::int64_t{num_sms} * config.blocks_per_sm;
  if (tiles == 0 || tiles * 2 > places * 3) return 1;
  const int blocks = ceil_div(problem.seqlen_k, config.block_k);
  // Short calls are bound by memory, which half of the SMs can read at full rate; more splits are only more to merge.
  if (is_short(problem)) {
    const std::int64_t wanted = (num_sms / 2 + tiles - 1) / tiles;
    return static_cast<int>(std::clamp<std::int64_t>(wanted, 1, std::clamp(blocks / 4, 1, kMaxSplits)));
  }
  const std::int64_t per_tile = 2, merge = 4;
  int best = 1;
  std::int64_t best_cost = (tiles + places - 1) / places * (blocks + per_tile);
  for (int splits = 2; splits <= std::min(kMaxSplits, blocks / 2); ++splits) {
    const std::int64_t cost =
        (tiles * splits + places - 1) / places * (ceil_div(blocks, splits) + per_tile) + merge + splits / 16;
    if (cost < best_cost) best = splits, best_cost = cost;
  }
  return best;
}

/// AttentionArgs::section_heads: no more than L2 holds. Up to 2048 keys two tiles for every place, so that few heads
/// are read for the first time at once; on an H200 1.01 to 1.08 times as fast at d = 96 and 128, and with three
/// warpgroups up to 14 % slower.
int section_of(const AttentionProblem& problem, const AttentionConfig& config, int num_sms) {
  const int most = section_heads(problem, config, kSectionBytes);
  if (config.is_split || problem.seqlen_k > 2048 || config.head_dim_qk <= 64) return most;
  const std::int64_t heads = std::int64_t{problem.num_heads_q} / group_of(problem, config) * problem.batch;
  const std::int64_t pair = std::int64_t{2} * num_sms * config.blocks_per_sm;
  const std::int64_t sections = std::max<std::int64_t>((count_tiles(problem, config) + pair / 2) / pair, 1);
  const std::int64_t per_kv = problem.num_heads_q / group_of(problem, config) / std::max(problem.num_heads_kv, 1);
  return static_cast<int>(std::min<std::int64_t>(most, round_up((heads + sections - 1) / sections, per_kv)));
}

/// The number of splits of a call whose config may have been made for another of its bucket.
int splits_of(const AttentionProblem& problem, const AttentionConfig& config, int num_sms) {
  if (!config.is_split) return 1;
  const int splits = best_splits(problem, config, num_sms);
  return config.merges_in_cluster ? std::min(splits, kMaxClusterSplits) : splits;
}

bool fits(const AttentionConfig& config, const DeviceInfo& device, int blocks_per_sm) {
  const int bytes = forward_sm90_shared_bytes(config);
  return bytes <= device.shared_per_block_bytes &&
         blocks_per_sm * (bytes + device.shared_reserved_bytes) <= device.shared_per_sm_bytes;
}

/// Rows of a warp must lie one after another in o, and those of other sequences stay as they are.
bool can_copy_o(const AttentionProblem& problem, AttentionConfig config, const DeviceInfo& device) {
  config.copies_o = true;
  return !config.is_split && !problem.is_packed_q && kWarpRows % group_of(problem, config) == 0 &&
         fits(config, device, config.blocks_per_sm);
}

Support supports(const AttentionProblem& problem, const DeviceInfo& device) {
  if (Support common = supports_gpu_forward(problem, device); !common) return common;
  if (!device.has_wgmma) return Support::no(fmt::format("is for sm_90a (Hopper); the GPU is {}", device.architecture));
  if (problem.dtype != DType::kF16 && problem.dtype != DType::kBF16) {
    return Support::no("takes fp16 and bf16; fp32 runs in attention_forward_fp32");
  }
  for (const int head_dim : {problem.head_dim_qk, problem.head_dim_v}) {
    if (head_dim < 8 || head_dim > 256 || head_dim % 8 != 0) {
      return Support::no(fmt::format("takes head_dim from 8 to 256 in steps of 8, got {}", head_dim));
    }
  }
  if (problem.alignment_bytes < 16) {
    return Support::no(fmt::format("copies rows that begin at multiples of 16 bytes; these are aligned to {}",
                                   problem.alignment_bytes));
  }
  if (is_short(problem) && key_value_bytes(problem) > kFewBytes) {
    return Support::no(
        fmt::format("leaves calls of few queries over more than {} MiB of keys and values to "
                    "attention_forward_sm80, which reads them faster",
                    kFewBytes >> 20));
  }
  return Support::yes();
}

AttentionConfig config_of(const AttentionProblem& problem, const DeviceInfo& device, const Sm90Tile& tile) {
  AttentionConfig config = gpu_config(problem);
  config.copy_bytes = 0;  // always 16
  config.head_dim_qk = static_cast<int>(round_up(problem.head_dim_qk, 16));
  config.head_dim_v = static_cast<int>(round_up(problem.head_dim_v, 16));
  const int heads_per_kv = problem.num_heads_kv > 0 ? problem.num_heads_q / problem.num_heads_kv : 1;
  config.block_q = tile.block_q;
  config.block_k = tile.block_k;
  config.stages = tile.stages;
  config.q_stages = tile.q_stages;
  config.takes_turns = tile.takes_turns;
  config.warps = warps_of(tile.block_q);
  config.packs_heads = heads_per_kv <= tile.block_q && wants_packed_heads(problem, tile.block_q);
  config.blocks_per_sm = tile.blocks_per_sm;
  while (config.blocks_per_sm > 1 && !fits(config, device, config.blocks_per_sm)) --config.blocks_per_sm;
  const int splits = best_splits(problem, config, device.num_sms);
  config.is_split = splits > 1;
  config.merges_in_cluster = is_short(problem) && config.is_split && splits <= kMaxClusterSplits + 1;
  if (config.is_split && tile.block_q > 64) config.takes_turns = true;
  config.copies_o = can_copy_o(problem, config, device);
  return config;
}

std::vector<AttentionConfig> candidates(const AttentionProblem& problem, const DeviceInfo& device) {
  const int head_dim_qk = static_cast<int>(round_up(problem.head_dim_qk, 16));
  const int head_dim_v = static_cast<int>(round_up(problem.head_dim_v, 16)),
            head_dim = std::max(head_dim_qk, head_dim_v);
  std::vector<AttentionConfig> found;
  const auto add = [&](const Sm90Tile& tile) {
    const AttentionConfig config = config_of(problem, device, tile);
    if (config.is_split && tile.block_q > 128) return;  // less than half as fast as two warpgroups
    if (fits(config, device, 1)) found.push_back(config);
  };
  if (is_short(problem)) {
    add(short_tile(head_dim));
    return found;
  }
  for (const Sm90Tile& tile : long_tiles(problem, head_dim_qk, head_dim_v, device.num_sms)) add(tile);
  if (const auto small = small_tile(problem, head_dim, device.num_sms); small && !found.front().is_split) {
    found.insert(found.begin(), config_of(problem, device, *small));
  }
  return found;
}

/// A caller's tile may be anything; the kernel takes one to four warpgroups of 64 rows and the barriers of eight
/// stages.
AttentionConfig checked(AttentionConfig config) {
  check(config.block_q >= 64 && config.block_q <= 256 && config.block_q % 64 == 0, ErrorCode::kInvalidArgument,
        "tile.block_q", "tile.block_q is {}, must be 64, 128, 192 or 256", config.block_q);
  check(config.block_k >= 16 && config.block_k <= 256 && config.block_k % 16 == 0, ErrorCode::kInvalidArgument,
        "tile.block_k", "tile.block_k is {}, must be a multiple of 16 up to 256", config.block_k);
  check(config.stages >= 1 && config.stages <= 8, ErrorCode::kInvalidArgument, "tile.stages",
        "tile.stages is {}, must be 1 to 8", config.stages);
  check(config.warps == warps_of(config.block_q), ErrorCode::kInvalidArgument, "tile.warps",
        "tile.warps is {}, must be {}: one for every 16 rows and four that load", config.warps,
        warps_of(config.block_q));
  // A cluster's parts of o lie where keys and values were: one warpgroup must have used them, and they be large enough.
  const int used = 2 * config.stages * config.block_k * (config.head_dim_qk + config.head_dim_v);
  if (config.block_q > 64 || used < config.block_q * (4 * config.head_dim_v + 32)) config.merges_in_cluster = false;
  return config;
}

AttentionPlan prepare(Runtime& runtime, const AttentionProblem&, const DeviceInfo& device,
                      const AttentionConfig& config) {
  return prepare_gpu_forward(runtime, kKernel, device, checked(config));
}

/// A dimension of one element may have any stride, which the copy engine need not be able to take.
std::int64_t stride_bytes(std::int64_t extent, Int64 stride) { return extent > 1 ? stride * 2 : 16; }

TensorMap encode(const cuda::Driver& driver, cuda::TensorMapShape shape, DType dtype) {
  static_assert(sizeof(cuda::TensorMap) == sizeof(TensorMap));
  shape.dtype = dtype;
  shape.swizzle = cuda::Swizzle::k128Bytes;
  shape.l2_promotion = cuda::L2Promotion::k256Bytes;
  return std::bit_cast<TensorMap>(cuda::encode_tensor_map(driver, shape));
}

/// What q and o have in common: rows of a tile are (query, head within the group).
struct RowTensor {
  const void* data;
  int columns, tile_rows;
  Int64 stride_batch, stride_row, stride_head;
};

TensorMap row_map(const cuda::Driver& driver, const AttentionProblem& p, const AttentionArgs& args,
                  const AttentionConfig& config, const RowTensor& t) {
  const int group = group_of(p, config), heads = p.num_heads_q / group;
  const bool is_packed = args.query.cu_seqlens;
  const std::int64_t batch = is_packed ? 1 : p.batch, seqlen = is_packed ? p.total_q : p.seqlen_q;
  return encode(driver,
                {.data = t.data,
                 .rank = 5,
                 .extent = {t.columns, group, seqlen, heads, batch},
                 .stride_bytes = {0, stride_bytes(group, t.stride_head), stride_bytes(seqlen, t.stride_row),
                                  stride_bytes(heads, t.stride_head * group), stride_bytes(batch, t.stride_batch)},
                 .box = {kPanelColumns, group, t.tile_rows / group, 1, 1}},
                config.dtype);
}
TensorMap query_map(const cuda::Driver& driver, const AttentionProblem& p, const AttentionArgs& args,
                    const AttentionConfig& config) {
  const QueryArgs& q = args.query;
  return row_map(driver, p, args, config,
                 {q.q, p.head_dim_qk, config.block_q, q.stride_batch, q.stride_row, q.stride_head});
}
TensorMap output_map(const cuda::Driver& driver, const AttentionProblem& p, const AttentionArgs& args,
                     const AttentionConfig& config) {
  const OutputArgs& o = args.output;
  return row_map(driver, p, args, config, {o.o, p.head_dim_v, kWarpRows, o.stride_batch, o.stride_row, o.stride_head});
}

TensorMap key_value_map(const cuda::Driver& driver, const AttentionProblem& p, const AttentionArgs& args,
                        const AttentionConfig& config, bool is_value) {
  const KeyValueDense& kv = args.kv;
  const std::int64_t batch = kv.cu_seqlens ? 1 : p.batch, seqlen = kv.cu_seqlens ? p.total_k : p.seqlen_k;
  const bool is_empty = seqlen == 0;  // nothing is read then, and the map must still be one
  return encode(driver,
                {.data = is_empty   ? args.query.q
                         : is_value ? kv.v
                                    : kv.k,
                 .rank = 4,
                 .extent = {is_value ? p.head_dim_v : p.head_dim_qk, is_empty ? 1 : seqlen, p.num_heads_kv, batch},
                 .stride_bytes = {0, stride_bytes(seqlen, is_value ? kv.v_stride_row : kv.k_stride_row),
                                  stride_bytes(p.num_heads_kv, is_value ? kv.v_stride_head : kv.k_stride_head),
                                  stride_bytes(batch, is_value ? kv.v_stride_batch : kv.k_stride_batch)},
                 .box = {kPanelColumns, config.block_k, 1, 1}},
                config.dtype);
}

/// section_heads of the args is set.
TileDivisors tile_divisors(const AttentionProblem& problem, const AttentionConfig& config, const AttentionArgs& args,
                           int splits) {
  const int group = group_of(problem, config), heads = problem.num_heads_q / group,
            rows = rows_per_tile(problem, config);
  const int tiles = ceil_div(problem.seqlen_q * group, rows);
  TileDivisors divisors;
  const auto prepare = [&divisors](TilePart part, std::int64_t d) {
    divisors.by[static_cast<int>(part)] = Divisor(static_cast<unsigned>(std::max<std::int64_t>(d, 1)));
  };
  prepare(TilePart::kHeadsKv, problem.num_heads_kv);
  prepare(TilePart::kRows, rows);
  prepare(TilePart::kSplits, splits);
  prepare(TilePart::kTilesOfSection, std::int64_t{tiles} * args.section_heads);
  prepare(TilePart::kSection, args.section_heads);
  prepare(TilePart::kLastSection, std::int64_t{heads} * problem.batch % args.section_heads);
  prepare(TilePart::kTiles, tiles);
  prepare(TilePart::kHeads, heads);
  prepare(TilePart::kHeadsPerKv, problem.num_heads_q / std::max(problem.num_heads_kv, 1));
  return divisors;
}

void run(Runtime& runtime, const AttentionPlan& plan, const AttentionProblem& problem, const AttentionArgs& given,
         Stream stream) {
  const auto& loaded = *static_cast<const LoadedForward*>(plan.state.get());
  const AttentionConfig& config = plan.config;
  const int splits = splits_of(problem, config, loaded.num_sms);
  const std::int64_t tiles = count_tiles(problem, config) * splits;
  if (tiles == 0) return;
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  AttentionArgs args = given;
  args.section_heads = section_of(problem, config, loaded.num_sms);
  const std::int64_t rows = args.query.cu_seqlens ? std::max(problem.total_q, problem.total_k) : 0;
  check(tiles <= kMost && rows <= kMost, ErrorCode::kUnsupported, "q",
        "the call has {} tiles and {} packed rows, at most {} are counted; split the batch", tiles, rows, kMost);
  const cuda::Driver& driver = *loaded.forward->device.driver;
  const cuda::ScopedContext scope(loaded.forward->device);  // the driver encodes in a context only
  ForwardSm90Args more = {query_map(driver, problem, args, config),
                          key_value_map(driver, problem, args, config, false),
                          key_value_map(driver, problem, args, config, true),
                          config.copies_o ? output_map(driver, problem, args, config) : TensorMap{},
                          nullptr,
                          static_cast<unsigned>(tiles),
                          rows_per_tile(problem, config),
                          tile_divisors(problem, config, args, splits)};
  const std::int64_t places = std::int64_t{loaded.num_sms} * config.blocks_per_sm;
  const cuda::LaunchConfig grid = {.blocks = config.merges_in_cluster ? tiles : std::min(tiles, places),
                                   .threads = plan.launch.threads_per_block,
                                   .shared_bytes = plan.launch.shared_bytes,
                                   .cluster = config.merges_in_cluster ? splits : 1,
                                   .programmatic = true};
  std::optional<cuda::WorkspaceLease> counters;
  if (tiles > grid.blocks) {
    counters.emplace(runtime.impl().counters.acquire(loaded.forward->device, stream, 2 * sizeof(unsigned)));
    more.tiles_taken = static_cast<unsigned*>(counters->data());
  }
  if (!config.is_split) {
    cuda::launch(*loaded.forward, grid, stream, args, more);
    return;
  }
  run_split(runtime, loaded, splits, problem, args, stream,
            [&](const AttentionArgs& split) { cuda::launch(*loaded.forward, grid, stream, split, more); });
}

}  // namespace

const AttentionKernel attention_forward_sm90 = {kKernel.name, supports, candidates, prepare, run};

}  // namespace fovea
