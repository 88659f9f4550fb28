// SPDX-License-Identifier: Apache-2.0
// fp8 operands: their scales, and why their sums are kept apart for a while. The matrix units of sm_89 and sm_90 keep
// some 14 bits of a sum of fp8 products. A block of 128 of k is added up there; then its sum goes into an fp32
// register, times the scales of the block where there are any.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"

namespace fovea {

template <MatmulConfig c>
inline constexpr bool kPromotes = c.dtype == DType::kE4M3;
template <MatmulConfig c>
inline constexpr bool kHasBlockScales = c.scale == ScaleKind::kPerBlock;

/// The factor of the whole product.
__device__ inline float tensor_scale(const MatmulArgs& args) {
  const float a = args.a_scale.data ? *args.a_scale.data : 1.0f;
  return args.b_scale.data ? a * *args.b_scale.data : a;
}

/// The scales of one operand of one product, `lines` rows of a (columns of b) to a number.
template <int lines>
struct BlockScales {
  const float* data;
  Int64 stride_line, stride_k;
  int last;  // line that exists

  __device__ BlockScales(const MatmulArgs& args, const ScaleArgs& scale, int batch, int extent)
      : data(scale.data + batch_offset(args, scale.stride_batch, batch)),
        stride_line(scale.stride_line),
        stride_k(scale.stride_k),
        last(extent - 1) {}
  /// Lines outside the product get another's number.
  __device__ float at(int line, int block) const {
    return data[min_of(line, last) / lines * stride_line + block * stride_k];
  }
};

}  // namespace fovea
