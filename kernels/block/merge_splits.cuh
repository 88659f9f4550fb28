// SPDX-License-Identifier: Apache-2.0
// The exact end of a split whose parts are the blocks of one cluster: o = sum over splits of exp(lse_s - lse) o_s, with
// lse the logarithm of the sum of exp(lse_s), in the order of the splits. Parts stay in shared memory, in the place of
// keys and values, where the others read them: through global memory, releasing and acquiring them costs a microsecond.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "kernels/block/forward_work.cuh"
#include "kernels/ptx/cluster.cuh"
#include "kernels/ptx/math.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

/// The part of a block: per row o, normalised within the split, and behind it the lse.
template <AttentionConfig config>
struct ClusterPart {
  static constexpr int kLse = config.head_dim_v;              // column
  static constexpr int kStride = 4 * config.head_dim_v + 32;  // bytes: eight rows lie in different banks
  static constexpr int kBytes = config.block_q * kStride;
  unsigned shared;

  __device__ unsigned row(int r) const { return shared + r * kStride; }
  __device__ float* data(int r) const { return static_cast<float*>(__cvta_shared_to_generic(row(r))); }
};

template <AttentionConfig config>
struct MergeCluster {
  static constexpr int kSplits = kMaxClusterSplits;
  const AttentionArgs& args;
  const ForwardWork<config.packs_heads>& work;
  const ClusterPart<config> part;  // of this block; the others have theirs in the same place

  /// By `threads` threads of all blocks, of which this is number `thread`; each does four columns of a row at a time.
  __device__ void run(int thread, int threads) const {
    const int chunks = args.head_dim_v / 4;
#pragma unroll 1
    for (int piece = thread; piece < work.rows * chunks; piece += threads) {
      const int row = piece / chunks;
      merge(row, 4 * (piece - row * chunks));
    }
  }

  __device__ void merge(int row, int column) const {
    float lse[kSplits], largest = -3.0e38f;  // finite, so that -inf - largest stays -inf
    float4 o_of[kSplits];
#pragma unroll
    for (int s = 0; s < kSplits; ++s) {
      lse[s] = -__int_as_float(0x7f800000);
      o_of[s] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (s < args.split.num_splits) {
        const unsigned from = mapa(part.row(row), s);
        lse[s] = ld_shared_cluster_v4(from + 4 * part.kLse).x;
        o_of[s] = ld_shared_cluster_v4(from + 4 * column);
      }
    }
#pragma unroll
    for (int s = 0; s < kSplits; ++s) largest = fmaxf(largest, lse[s]);
    float total = 0.0f, o[4] = {};
#pragma unroll
    for (int s = 0; s < kSplits; ++s) {
      const float weight = ex2_approx((lse[s] - largest) * kLog2E);
      total += weight;
      o[0] = fmaf(weight, o_of[s].x, o[0]);
      o[1] = fmaf(weight, o_of[s].y, o[1]);
      o[2] = fmaf(weight, o_of[s].z, o[2]);
      o[3] = fmaf(weight, o_of[s].w, o[3]);
    }
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
    auto* to = static_cast<unsigned short*>(args.output.o) + work.output_offset(args.output, row) + column;
    *reinterpret_cast<uint2*>(to) =
        uint2{pack<config.dtype>(o[0] * factor, o[1] * factor), pack<config.dtype>(o[2] * factor, o[3] * factor)};
    if (config.has_lse && column == 0) {
      args.output.lse[work.lse_offset(args.output, row)] =
          total == 0.0f ? -__int_as_float(0x7f800000) : largest + logf(total);
    }
  }
};

}  // namespace fovea
