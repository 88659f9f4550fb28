// SPDX-License-Identifier: Apache-2.0
// The exact end of a split: o = sum over splits of exp(lse_s - lse) o_s, with lse the logarithm of the sum of
// exp(lse_s). One block of four warps per row of one head: a warp adds up every fourth split, the block the four sums,
// in an order that does not depend on timing. About 40 registers, 2 KiB of shared memory.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "kernels/block/warp_reduce.cuh"
#include "kernels/ptx/griddepcontrol.cuh"
#include "kernels/ptx/math.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

inline constexpr int kMergeWarps = 4;

/// The splits' weights of one row: split s in lane s % 32, number s / 32.
struct MergeWeights {
  static constexpr int kPerLane = 4;  // at most 128 splits
  float weight[kPerLane];
  float lse;  // of the whole row, -inf if no split saw a key

  __device__ MergeWeights(const float* lse_of, Int64 stride, int splits) {
    const int lane = threadIdx.x % 32;
    float largest = -3.0e38f;  // finite, so that -inf - largest stays -inf
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const int s = 32 * i + lane;
      weight[i] = s < splits ? lse_of[s * stride] : -__int_as_float(0x7f800000);
      largest = fmaxf(largest, weight[i]);
    }
    largest = lanes_max<32>(largest);
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) total += weight[i] = ex2_approx((weight[i] - largest) * kLog2E);
    total = lanes_sum<32>(total);
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) weight[i] *= factor;
    lse = total == 0.0f ? -__int_as_float(0x7f800000) : largest + logf(total);
  }
  /// By all lanes of the warp.
  __device__ float of(int s) const {
    float mine = weight[0];
#pragma unroll
    for (int i = 1; i < kPerLane; ++i) mine = s / 32 == i ? weight[i] : mine;
    return __shfl_sync(kWholeWarp, mine, s % 32);
  }
};

template <AttentionConfig config>
__device__ inline void forward_merge(const AttentionArgs& args) {
  constexpr int kColumns = 128;  // of a pass, four per lane
  __shared__ float sums[kMergeWarps][kColumns];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const unsigned row = blockIdx.x;  // a grid has fewer than 2^31 blocks
  const Int64 rows = static_cast<Int64>(args.batch) * args.num_heads_q * args.query.seqlen;
  const int q = static_cast<int>(row % args.query.seqlen);
  const unsigned of_head = row / args.query.seqlen;
  const int head = static_cast<int>(of_head % args.num_heads_q);
  const int batch = static_cast<int>(of_head / args.num_heads_q);
  const SequenceShape sequence = sequence_shape(args.query, args.kv, batch);
#if __CUDA_ARCH__ >= 900
  griddepcontrol_wait();  // in every block: what follows this kernel in the stream counts on the forward kernel's end
#endif
  if (q >= sequence.rows_q) return;

  const int splits = args.split.num_splits, head_dim = args.head_dim_v;
  const MergeWeights weights(args.split.partial_lse + row, rows, splits);
  using T = Element<config.dtype>;
  auto* o = static_cast<T*>(args.output.o) + batch * args.output.stride_batch +
            (sequence.q_first + q) * args.output.stride_row + head * args.output.stride_head;
  for (int first = 0; first < head_dim; first += kColumns) {
    const int column = first + 4 * lane;
    float sum[4] = {};
#pragma unroll 4
    for (int s = warp; s < splits; s += kMergeWarps) {
      const float weight = weights.of(s);
      const float* partial = args.split.partial_o + (s * rows + row) * head_dim + column;
      if (head_dim % 4 == 0 && column < head_dim) {
        const float4 x = *reinterpret_cast<const float4*>(partial);
        sum[0] = fmaf(weight, x.x, sum[0]);
        sum[1] = fmaf(weight, x.y, sum[1]);
        sum[2] = fmaf(weight, x.z, sum[2]);
        sum[3] = fmaf(weight, x.w, sum[3]);
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (column + e < head_dim) sum[e] = fmaf(weight, partial[e], sum[e]);
        }
      }
    }
    if (first > 0) __syncthreads();  // the sums of the pass before have been read
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[warp][4 * lane + e] = sum[e];
    __syncthreads();
    const int at = threadIdx.x;
    if (first + at < head_dim) {
      float total = 0.0f;
#pragma unroll
      for (int w = 0; w < kMergeWarps; ++w) total += sums[w][at];
      o[first + at] = from_float<config.dtype>(total);
    }
  }
  if (config.has_lse && threadIdx.x == 0) {
    args.output.lse[batch * args.output.lse_stride_batch + head * args.output.lse_stride_head + sequence.q_first + q] =
        weights.lse;
  }
}

}  // namespace fovea
