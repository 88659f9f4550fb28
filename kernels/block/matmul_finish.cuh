// SPDX-License-Identifier: Apache-2.0
// What happens to a sum before it is stored: d = activation(alpha sum + beta c + bias), and the store itself.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_tiles.h"
#include "kernels/ptx/global.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

template <Activation activation>
__device__ inline float activate(float x) {
  if constexpr (activation == Activation::kRelu) return x > 0.0f || x != x ? x : 0.0f;
  if constexpr (activation == Activation::kGelu) return 0.5f * x * erfcf(x * -0.70710678f);
  if constexpr (activation == Activation::kSilu) return x / (1.0f + expf(-x));
  return x;
}

/// Element offsets of one product's c and d.
struct MatmulOffsets {
  Int64 c, d;
};

__device__ inline MatmulOffsets matmul_offsets(const MatmulArgs& args, int batch) {
  return {batch_offset(args, args.c.stride_batch, batch), batch_offset(args, args.d_stride_batch, batch)};
}

/// The finished value of element (row, column), which must exist if c or bias is read.
template <MatmulConfig c>
__device__ inline float finish(const MatmulArgs& args, const MatmulOffsets& from, int row, int column, float sum) {
  float x = args.alpha * sum;
  if constexpr (c.has_c) {
    const Int64 at = from.c + row * args.c.stride_row + column * args.c.stride_col;
    x += args.beta * to_float<c.c_dtype>(static_cast<const Element<c.c_dtype>*>(args.c.data)[at]);
  }
  if constexpr (c.bias != BiasKind::kNone) {
    const Int64 at = (c.bias == BiasKind::kPerRow ? row : column) * args.bias_stride;
    x += to_float<c.bias_dtype>(static_cast<const Element<c.bias_dtype>*>(args.bias)[at]);
  }
  return activate<c.activation>(x);
}

/// Two elements of a row as 16-bit numbers; what lies outside the product is nothing in particular.
template <MatmulConfig c>
__device__ inline unsigned finish_pair(const MatmulArgs& args, const MatmulOffsets& from, int row, int column,
                                       float low, float high) {
  if constexpr (c.has_c || c.bias != BiasKind::kNone) {
    low = row < args.m && column < args.n ? finish<c>(args, from, row, column, low) : 0.0f;
    high = row < args.m && column + 1 < args.n ? finish<c>(args, from, row, column + 1, high) : 0.0f;
  } else {
    low = activate<c.activation>(args.alpha * low);
    high = activate<c.activation>(args.alpha * high);
  }
  return pack<c.d_dtype>(low, high);
}

/// Finishes and stores count elements from (row, column) on, whose first lies at d, along the row or (along_m) along
/// the column; those outside the product are left out. row and column are multiples of count in their direction.
template <MatmulConfig c, int count, bool along_m>
__device__ inline void store_finished_at(const MatmulArgs& args, const MatmulOffsets& from, Element<c.d_dtype>* d,
                                         int row, int column, const float (&sum)[count]) {
  using Out = Element<c.d_dtype>;
  constexpr int kBytes = count * static_cast<int>(sizeof(Out));
  constexpr bool kIsContiguous = c.d_order == (along_m ? MatrixOrder::kColumnMajor : MatrixOrder::kRowMajor);
  const int left = along_m ? args.m - row : args.n - column;
  if (left <= 0 || (along_m ? column >= args.n : row >= args.m)) return;
  const auto value = [&](int i) {
    return from_float<c.d_dtype>(finish<c>(args, from, row + (along_m ? i : 0), column + (along_m ? 0 : i), sum[i]));
  };
  if constexpr (kIsContiguous && c.d_copy_bytes >= kBytes) {
    if (left >= count) {
      alignas(16) Out out[count];
#pragma unroll
      for (int i = 0; i < count; ++i) out[i] = value(i);
      if constexpr (kBytes == 16) *reinterpret_cast<uint4*>(d) = *reinterpret_cast<const uint4*>(out);
      if constexpr (kBytes == 8 && along_m) {  // left to itself the compiler stores two halves
        const uint2 x = *reinterpret_cast<const uint2*>(out);
        st_global_v2(d, x.x, x.y);
      } else if constexpr (kBytes == 8) {
        *reinterpret_cast<uint2*>(d) = *reinterpret_cast<const uint2*>(out);
      }
      if constexpr (kBytes == 4) *reinterpret_cast<unsigned*>(d) = *reinterpret_cast<const unsigned*>(out);
      return;
    }
  }
  const Int64 stride = along_m ? args.d_stride_row : args.d_stride_col;
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if (i < left) d[i * stride] = value(i);
  }
}

/// The same, its place computed here.
template <MatmulConfig c, int count, bool along_m>
__device__ inline void store_finished(const MatmulArgs& args, const MatmulOffsets& from, int row, int column,
                                      const float (&sum)[count]) {
  auto* d = static_cast<Element<c.d_dtype>*>(args.d) + from.d + row * args.d_stride_row + column * args.d_stride_col;
  store_finished_at<c, count, along_m>(args, from, d, row, column, sum);
}

/// Unfinished sums to the workspace, for merge.cuh. column is a multiple of count.
template <int count>
__device__ inline void store_partial(const MatmulArgs& args, const MatmulTilePart& part, int row, int column,
                                     const float (&sum)[count]) {
  static_assert(count == 2 || count == 4, "one store");
  if (row >= args.m) return;
  const Int64 line = (static_cast<Int64>(part.split) * args.batch + part.tile.batch) * args.m + row;
  float* to = args.schedule.partial + line * args.n + column;
  if (args.n % count == 0) {  // then so is every line
    if (column >= args.n) return;
    if constexpr (count == 4) *reinterpret_cast<float4*>(to) = make_float4(sum[0], sum[1], sum[2], sum[3]);
    if constexpr (count == 2) *reinterpret_cast<float2*>(to) = make_float2(sum[0], sum[1]);
    return;
  }
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if (column + i < args.n) to[i] = sum[i];
  }
}

}  // namespace fovea
