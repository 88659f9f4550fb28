// SPDX-License-Identifier: Apache-2.0
// Operands of a warp's products read from swizzled shared tiles: 16 rows by 32 bytes per ldmatrix, which are 16
// elements of 16 bits, 8 of fp32 or 32 of fp8. The products take the registers of all three in the same places.
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

/// The same of fp32 tiles whose rows are steps of k, element by element: 8 steps of k by 16 columns.
template <int columns>
struct WordPattern {
  using Layout = WordSwizzle<columns>;
  unsigned offset[2][2];  // of the even and odd 16-column blocks after the first, and their second 8 columns

  /// first: 16-column block that load(…, i) counts from.
  __device__ explicit WordPattern(int lane, int first = 0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = 16 * (first + i / 2) + 8 * (i % 2) + lane / 4;
      offset[i / 2][i % 2] = Layout::offset_bytes(lane % 4, column / 4) + column % 4 * 4;
    }
  }
  /// Lane l receives column l / 4 of row l % 4, its second 8 columns (next to it in d if `columns_first`, else after
  /// the row 4 further down).
  __device__ void load(unsigned (&d)[4], unsigned tile, int row_block, int column_block, bool columns_first) const {
    const unsigned at = tile + row_block * (8 * Layout::kRowBytes) + column_block / 2 * 128;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int half = columns_first ? i % 2 : i / 2, later = columns_first ? i / 2 : i % 2;
      // The swizzle repeats every 4 rows.
      const unsigned from = at + offset[column_block % 2][half] + later * (4 * Layout::kRowBytes);
      d[i] = *static_cast<const unsigned*>(__cvta_shared_to_generic(from));
    }
  }
};

/// c += a b for 16 rows and 8 columns, 32 bytes of k: 16 steps of 16-bit elements, 8 of fp32 (as TF32, rounded before),
/// 32 of e4m3.
/// Turing multiplies 16 x 8 by 8 x 8: the halves of the same fragments.
template <DType dtype>
__device__ inline void multiply_accumulate(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (dtype == DType::kF32) {
    mma_m16n8k8_tf32(c, a, b0, b1);
  } else if constexpr (dtype == DType::kE4M3) {
    mma_m16n8k32_e4m3(c, a, b0, b1);
  } else if constexpr (dtype == DType::kBF16) {
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
