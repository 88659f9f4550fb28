// SPDX-License-Identifier: Apache-2.0
// The exact end of a split whose parts lie in shared memory, those of a block's warps that share rows, of a cluster's
// blocks, or both: o = sum over parts of exp(lse_s - lse) o_s, with lse the logarithm of the sum of exp(lse_s), in the
// order of the parts. They lie in the place of keys and values. Blocks read each other's there: through global memory,
// releasing and acquiring them costs a microsecond.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "kernels/block/forward_work.cuh"
#include "kernels/ptx/cluster.cuh"
#include "kernels/ptx/math.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

/// A part: per row o, normalised within the part, and behind it the lse.
template <AttentionConfig config>
struct SharedPart {
  static constexpr int kLse = config.head_dim_v;  // column
  static constexpr int kStride = part_row_bytes(config);
  static constexpr int kBytes = config.block_q * kStride;
  unsigned shared;

  __device__ unsigned row(int r) const { return shared + r * kStride; }
  __device__ float* data(int r) const { return static_cast<float*>(__cvta_shared_to_generic(row(r))); }
};

template <AttentionConfig config>
struct MergeParts {
  static constexpr int kOfBlock = parts_of_block(config);
  static constexpr int kBlocks = config.merges_in_cluster ? kMaxClusterSplits : 1;
  static constexpr int kParts = kOfBlock * kBlocks;
  const AttentionArgs& args;
  const ForwardWork<config.packs_heads>& work;
  const SharedPart<config> part;  // the first of this block; the others have theirs in the same place

  /// By `threads` threads of all blocks, of which this is number `thread`; each does four columns of a row at a time.
  __device__ void run(int thread, int threads) const {
    const int chunks = args.head_dim_v / 4;
#pragma unroll 1
    for (int piece = thread; piece < work.rows * chunks; piece += threads) {
      const int row = piece / chunks;
      merge(row, 4 * (piece - row * chunks));
    }
  }

  __device__ static float4 load(unsigned from, int block) {
    if constexpr (config.merges_in_cluster) return ld_shared_cluster_v4(mapa(from, block));
    return *static_cast<const float4*>(__cvta_shared_to_generic(from));
  }
  __device__ bool exists(int block) const { return !config.merges_in_cluster || block < args.split.num_splits; }

  __device__ void merge(int row, int column) const {
    float lse[kParts], largest = -3.0e38f;  // finite, so that -inf - largest stays -inf
    float4 o_of[kParts];
#pragma unroll
    for (int s = 0; s < kParts; ++s) {
      lse[s] = -__int_as_float(0x7f800000);
      o_of[s] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (exists(s / kOfBlock)) {
        const unsigned from = part.row(row) + s % kOfBlock * part.kBytes;
        lse[s] = load(from + 4 * part.kLse, s / kOfBlock).x;
        o_of[s] = load(from + 4 * column, s / kOfBlock);
      }
    }
#pragma unroll
    for (int s = 0; s < kParts; ++s) largest = fmaxf(largest, lse[s]);
    float total = 0.0f, o[4] = {};
#pragma unroll
    for (int s = 0; s < kParts; ++s) {
      float weight = ex2_approx((lse[s] - largest) * kLog2E);
      // Never 0 where keys were seen: an infinite o stays infinite, and 2^-126 of a finite one is nothing.
      if (weight == 0.0f && lse[s] != -__int_as_float(0x7f800000)) weight = 0x1p-126f;
      total += weight;
      o[0] = fmaf(weight, o_of[s].x, o[0]);
      o[1] = fmaf(weight, o_of[s].y, o[1]);
      o[2] = fmaf(weight, o_of[s].z, o[2]);
      o[3] = fmaf(weight, o_of[s].w, o[3]);
    }
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
    for (int i = 0; i < 4; ++i) o[i] *= factor;
    store(row, column, o, total == 0.0f ? -__int_as_float(0x7f800000) : largest + logf(total));
  }

  /// To o; of a split that others merge, to its partial results.
  __device__ void store(int row, int column, const float (&o)[4], float lse) const {
    constexpr bool kIsPartial = config.is_split && !config.merges_in_cluster;
    if constexpr (kIsPartial) {
      float* to = args.split.partial_o + work.partial_row(args, row) * args.head_dim_v + column;
      *reinterpret_cast<float4*>(to) = make_float4(o[0], o[1], o[2], o[3]);
    } else {
      auto* to = static_cast<unsigned short*>(args.output.o) + work.output_offset(args.output, row) + column;
      *reinterpret_cast<uint2*>(to) = uint2{pack<config.dtype>(o[0], o[1]), pack<config.dtype>(o[2], o[3])};
    }
    if (column > 0) return;
    if constexpr (kIsPartial) {
      args.split.partial_lse[work.partial_row(args, row)] = lse;
    } else if constexpr (config.has_lse) {
      args.output.lse[work.lse_offset(args.output, row)] = lse;
    }
  }
};

}  // namespace fovea
