// SPDX-License-Identifier: Apache-2.0
// Attention of a warp's 16 rows straight from global memory, for tiles whose o came out non-finite: 0 * inf in a
// product lets infinities and NaNs of v reach rows that may not see them. Slow, exact, and only for such tiles.
// Accumulators are laid out as those of products: lane l holds rows l / 4 and l / 4 + 8.
#pragma once

#include "kernels/block/forward_work.cuh"
#include "kernels/block/online_softmax.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

template <AttentionConfig config>
struct RowByRow {
  const AttentionArgs& args;
  const ForwardWork<config.packs_heads>& work;

  __device__ static float quad_sum(float x) {
    const unsigned quad = 0xfu << (threadIdx.x % 32 & ~3u);  // the rows of other lanes have other lengths
    x += __shfl_xor_sync(quad, x, 1);
    return x + __shfl_xor_sync(quad, x, 2);
  }

  /// The score of a key times log2(e).
  __device__ float score(const unsigned short* q, const unsigned short* k) const {
    float s = 0.0f;
#pragma unroll 1
    for (int column = 2 * (threadIdx.x % 4); column < args.head_dim_qk; column += 8) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        s = fmaf(to_float<config.dtype>(q[column + e]), to_float<config.dtype>(k[column + e]), s);
      }
    }
    s = quad_sum(s) * args.softmax_scale;
    if constexpr (config.has_softcap) s = args.softcap * tanhf(s / args.softcap);
    return s * kLog2E;
  }

  /// Row `row` of the tile, which this quad holds as row r of its accumulators.
  template <int value_tiles>
  __device__ void attend(int row, int r, float (&o)[1][value_tiles][4], OnlineSoftmax<1>& softmax) const {
    const int query = work.query(row);
    KeyInterval seen = {0, 0};
    if (row < work.rows && query < work.sequence.seqlen_q) seen = visible_keys<config.mask>(work.mask, query);
    const auto* q = static_cast<const unsigned short*>(args.query.q) + work.query_offset(args.query, row);
    const auto* k = static_cast<const unsigned short*>(args.kv.k) + work.batch * args.kv.k_stride_batch +
                    work.head_kv * args.kv.k_stride_head + work.sequence.k_first * args.kv.k_stride_row;
    const auto* v = static_cast<const unsigned short*>(args.kv.v) + work.batch * args.kv.v_stride_batch +
                    work.head_kv * args.kv.v_stride_head + work.sequence.k_first * args.kv.v_stride_row;
    float largest = OnlineSoftmax<1>::kLowest, sum = 0.0f;
#pragma unroll 1
    for (int key = max_of(seen.begin, work.keys.begin); key < min_of(seen.end, work.keys.end); ++key) {
      const float s = score(q, k + key * args.kv.k_stride_row);
      if (s > largest) {
        const float factor = fmaxf(ex2_approx(largest - s), 0x1p-126f);
        largest = s;
        sum *= factor;
#pragma unroll
        for (int n = 0; n < value_tiles; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) o[0][n][2 * r + e] *= factor;
        }
      }
      const float weight = ex2_approx(s - largest);
      sum += weight;
#pragma unroll
      for (int n = 0; n < value_tiles; ++n) {
        const int column = 8 * n + 2 * (threadIdx.x % 4);
        if (column >= args.head_dim_v) continue;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const auto x = v[key * args.kv.v_stride_row + column + e];
          const float value = to_float<config.dtype>(x);
          o[0][n][2 * r + e] += non_finite<config.dtype>(x) ? value : weight * value;
        }
      }
    }
    softmax.max_log2[0][r] = largest;
    softmax.sum[0][r] = 0.25f * sum;  // the four lanes are added up later
  }
};

}  // namespace fovea
