// SPDX-License-Identifier: Apache-2.0
// Operands of mma.m16n8k16 read from swizzled shared tiles, 16 x 16 elements per ldmatrix.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/ldmatrix.cuh"
#include "kernels/ptx/mma.cuh"
#include "kernels/tile/swizzle.cuh"

namespace fovea {

/// Which 8 x 8 matrix of a 16 x 16 block ldmatrix gives second: the one below the first or the one beside it.
/// kRowsFirst serves q as A and, transposed, v as B; kColumnsFirst serves k as B. (The two registers of a B operand
/// must be neighbours: with one order for both, every product costs two moves.)
enum class BlockOrder { kRowsFirst, kColumnsFirst };

/// Where one lane's ldmatrix rows lie in a tile: at(i, j) is the byte offset for rows 16 i and columns 16 j.
template <int columns, BlockOrder order>
struct FragmentPattern {
  using Layout = Swizzle<columns>;
  static constexpr int kGroups = Layout::kPeriod / 2;  // 16-column blocks after which the swizzle repeats
  unsigned offset[kGroups];

  /// first: 16-column block that at(i, 0) stands for.
  __device__ explicit FragmentPattern(int lane, int first = 0) {
    const int second = lane / 8 % 2, later = lane / 16;
    const int row = lane % 8 + 8 * (order == BlockOrder::kRowsFirst ? second : later);
    const int half = order == BlockOrder::kRowsFirst ? later : second;
#pragma unroll
    for (int i = 0; i < kGroups; ++i) offset[i] = Layout::offset_bytes(row, 2 * (first + i) + half);
  }
  __device__ unsigned at(int row_block, int column_block) const {
    return offset[column_block % kGroups] + row_block * (16 * Layout::kRowBytes) +
           column_block / kGroups * (kGroups * 32);
  }
};

/// c += a b for 16 x 16 by 16 x 8. Turing multiplies 16 x 8 by 8 x 8: the halves of the same fragments.
template <DType dtype>
__device__ inline void multiply_accumulate(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (dtype == DType::kBF16) {
    mma_m16n8k16_bf16(c, a, b0, b1);
  } else {
    mma_m16n8k16_f16(c, a, b0, b1);
  }
#else
  static_assert(dtype == DType::kF16, "sm_75 multiplies fp16 only");
  mma_m16n8k8_f16(c, a[0], a[1], b0);
  mma_m16n8k8_f16(c, a[2], a[3], b1);
#endif
}

}  // namespace fovea
