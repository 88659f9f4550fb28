// SPDX-License-Identifier: Apache-2.0
// Attention of a warp's rows straight from global memory to o, for tiles whose o came out non-finite: 0 * inf in a
// product lets infinities and NaNs of v reach rows that may not see them. Slow, exact, and only for such tiles; small,
// since every kernel that has it is compiled on its first call. Lanes share out the columns of q, k, v and o, every
// 32nd each.
#pragma once

#include "kernels/block/forward_work.cuh"
#include "kernels/block/online_softmax.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

template <AttentionConfig config>
struct RowByRow {
  static constexpr int kColumns = ceil_div(config.head_dim_v, 32);  // of a lane

  const AttentionArgs& args;
  const ForwardWork<config.packs_heads>& work;

  /// The score of a key times log2(e), in every lane.
  __device__ float score(const unsigned short* q, const unsigned short* k) const {
    float s = 0.0f;
#pragma unroll 1
    for (int i = threadIdx.x % 32; i < args.head_dim_qk; i += 32) {
      s = fmaf(to_float<config.dtype>(q[i]), to_float<config.dtype>(k[i]), s);
    }
    s = lanes_sum<32>(s) * args.softmax_scale;
    if constexpr (config.has_softcap) s = args.softcap * tanhf(s / args.softcap);
    return s * kLog2E;
  }

  /// o and the lse of rows first to first + 15 of the tile. By all lanes.
  __device__ void store(int first) const {
    __syncwarp();  // what other lanes stored there comes first
#pragma unroll 1
    for (int row = first; row < min_of(first + 16, work.rows); ++row) store_row(row);
  }

  __device__ void store_row(int row) const {
    const int query = work.query(row);
    KeyInterval seen = {0, 0};
    if (query < work.sequence.seqlen_q) seen = visible_keys<config.mask>(work.mask, query);
    const int begin = max_of(seen.begin, work.keys.begin), end = min_of(seen.end, work.keys.end);
    const auto* q = static_cast<const unsigned short*>(args.query.q) + work.query_offset(args.query, row);
    const auto* k = static_cast<const unsigned short*>(args.kv.k) + work.batch * args.kv.k_stride_batch +
                    work.head_kv * args.kv.k_stride_head + (work.sequence.k_first + begin) * args.kv.k_stride_row;
    const auto* v = static_cast<const unsigned short*>(args.kv.v) + work.batch * args.kv.v_stride_batch +
                    work.head_kv * args.kv.v_stride_head + (work.sequence.k_first + begin) * args.kv.v_stride_row;
    float o[kColumns] = {};
    float largest = OnlineSoftmax<1>::kLowest, sum = 0.0f;
#pragma unroll 1
    for (int key = begin; key < end; ++key) {
      const float s = score(q, k);
      const float raised = fmaxf(largest, s);
      const float factor = fmaxf(ex2_approx(largest - raised), 0x1p-126f);  // never 0: an infinite o stays infinite
      const float weight = ex2_approx(s - raised);
      largest = raised;
      sum = fmaf(sum, factor, weight);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = threadIdx.x % 32 + 32 * c;
        if (column >= args.head_dim_v) continue;
        const float value = to_float<config.dtype>(v[column]);
        o[c] = fmaf(o[c], factor, non_finite<config.dtype>(v[column]) ? value : weight * value);
      }
      k += args.kv.k_stride_row;
      v += args.kv.v_stride_row;
    }
    finish(row, o, largest, sum);
  }

  /// A row that sees nothing becomes zeros, with an lse of -inf.
  __device__ void finish(int row, const float (&o)[kColumns], float largest, float sum) const {
    const bool empty = sum == 0.0f;
    if ((config.has_lse || config.is_split) && threadIdx.x % 32 == 0) {
      work.template store_lse<config>(args, row,
                                      empty ? -__int_as_float(0x7f800000) : kLn2 * (largest + lg2_approx(sum)));
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = threadIdx.x % 32 + 32 * c;
      if (column >= args.head_dim_v) continue;
      const float x = empty ? 0.0f : o[c] * rcp_approx(sum);
      if constexpr (config.is_split) {
        args.split.partial_o[work.partial_row(args, row) * args.head_dim_v + column] = x;
      } else {
        auto* to = static_cast<unsigned short*>(args.output.o) + work.output_offset(args.output, row);
        to[column] = from_float<config.dtype>(x);
      }
    }
  }
};

}  // namespace fovea
