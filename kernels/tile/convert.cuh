// SPDX-License-Identifier: Apache-2.0
// Element types as storage, and their conversion to and from fp32.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/math.cuh"

namespace fovea {

template <DType dtype>
struct ElementOf {
  using Type = unsigned short;
};
template <>
struct ElementOf<DType::kF32> {
  using Type = float;
};
template <>
struct ElementOf<DType::kE4M3> {  // multiplied, never converted
  using Type = unsigned char;
};
template <DType dtype>
using Element = typename ElementOf<dtype>::Type;

template <DType dtype>
__device__ inline float to_float(Element<dtype> x) {
  if constexpr (dtype == DType::kF32) {
    return x;
  } else if constexpr (dtype == DType::kBF16) {
    return __int_as_float(static_cast<int>(x) << 16);
  } else {
    return cvt_f32_f16(x);
  }
}

/// To the nearest bf16, ties to even; a NaN stays one. For GPUs that have no instruction for it.
__device__ inline unsigned round_to_bf16(float x) {
  const unsigned bits = static_cast<unsigned>(__float_as_int(x));
  return x != x ? bits >> 16 | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

/// Two floats to two 16-bit elements, low in the low half.
template <DType dtype>
__device__ inline unsigned pack(float low, float high) {
  if constexpr (dtype == DType::kBF16) {
#if __CUDA_ARCH__ >= 800
    return cvt_rn_bf16x2(high, low);
#else
    return round_to_bf16(low) | round_to_bf16(high) << 16;
#endif
  } else {
#if __CUDA_ARCH__ >= 800
    return cvt_rn_f16x2(high, low);
#else
    return cvt_rn_f16(low) | static_cast<unsigned>(cvt_rn_f16(high)) << 16;
#endif
  }
}

template <DType dtype>
__device__ inline Element<dtype> from_float(float x) {
  if constexpr (dtype == DType::kF32) {
    return x;
  } else {
    return static_cast<unsigned short>(pack<dtype>(x, 0.0f));
  }
}

template <DType dtype>
__device__ inline bool non_finite(Element<dtype> x) {
  if constexpr (dtype == DType::kF32) {
    return (__float_as_int(x) & 0x7f800000) == 0x7f800000;
  } else {
    constexpr unsigned kExponent = dtype == DType::kBF16 ? 0x7f80u : 0x7c00u;
    return (x & kExponent) == kExponent;
  }
}

}  // namespace fovea
