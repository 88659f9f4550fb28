// SPDX-License-Identifier: Apache-2.0
// The exact end of a split: o = sum over splits of exp(lse_s - lse) o_s, with lse the logarithm of the sum of
// exp(lse_s). One warp per row of one head; the splits are added in order, so the bits do not depend on timing. 8
// warps, about 30 registers, no shared memory.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "kernels/ptx/math.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

inline constexpr int kMergeWarps = 8;

template <AttentionConfig config>
__device__ inline void forward_merge(const AttentionArgs& args) {
  const int lane = threadIdx.x % 32;
  const Int64 row = static_cast<Int64>(blockIdx.x) * kMergeWarps + threadIdx.x / 32;
  const Int64 rows = static_cast<Int64>(args.batch) * args.num_heads_q * args.query.seqlen;
  if (row >= rows) return;
  const int q = static_cast<int>(row % args.query.seqlen);
  const Int64 of_head = row / args.query.seqlen;
  const int head = static_cast<int>(of_head % args.num_heads_q);
  const int batch = static_cast<int>(of_head / args.num_heads_q);
  const SequenceShape sequence = sequence_shape(args.query, args.kv, batch);
  if (q >= sequence.rows_q) return;

  const float* lse_of = args.split.partial_lse + row;  // rows apart from split to split
  float largest = -3.0e38f;                            // finite, so that -inf - largest stays -inf
  for (int s = 0; s < args.split.num_splits; ++s) largest = fmaxf(largest, lse_of[s * rows]);
  float total = 0.0f;
  for (int s = 0; s < args.split.num_splits; ++s) total += ex2_approx((lse_of[s * rows] - largest) * kLog2E);
  const float factor = total == 0.0f ? 0.0f : 1.0f / total;

  using T = Element<config.dtype>;
  auto* o = static_cast<T*>(args.output.o) + batch * args.output.stride_batch +
            (sequence.q_first + q) * args.output.stride_row + head * args.output.stride_head;
  for (int column = lane; column < args.head_dim_v; column += 32) {
    const float* partial = args.split.partial_o + row * args.head_dim_v + column;
    float sum = 0.0f;
    for (int s = 0; s < args.split.num_splits; ++s) {
      const float weight = ex2_approx((lse_of[s * rows] - largest) * kLog2E);
      sum = fmaf(weight, partial[s * rows * args.head_dim_v], sum);
    }
    o[column] = from_float<config.dtype>(sum * factor);
  }
  if (config.has_lse && lane == 0) {
    args.output.lse[batch * args.output.lse_stride_batch + head * args.output.lse_stride_head + sequence.q_first + q] =
        total == 0.0f ? -__int_as_float(0x7f800000) : largest + logf(total);
  }
}

}  // namespace fovea
