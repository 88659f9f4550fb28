// SPDX-License-Identifier: Apache-2.0
// A tile in shared memory as warpgroup products read it and the copy engine writes it: panels of 64 16-bit columns, one
// behind the other; a row of a panel is 128 bytes, its eight 16-byte chunks exchanged by the row modulo 8 ("128-byte
// swizzle"). Tiles begin at multiples of 1024 bytes.
// Descriptor: docs.nvidia.com/cuda/parallel-thread-execution, "matrix-descriptor".
#pragma once

namespace fovea {

using Descriptor = unsigned long long;

template <int rows>
struct Panels {
  static constexpr int kPanelBytes = rows * 128;
  static constexpr Descriptor kSwizzled = Descriptor{1} << 62 | Descriptor{1024 >> 4} << 32;  // 8 rows are 1024 bytes

  /// As rows of the product's outer dimension; their columns are multiplied (q, k).
  __device__ static Descriptor by_rows(unsigned shared) { return kSwizzled | Descriptor{1} << 16 | shared >> 4; }
  /// The 16 columns number i of such a tile, to be added.
  __device__ static constexpr Descriptor depth(int i) { return i / 4 * (kPanelBytes >> 4) + i % 4 * 2; }

  /// As columns of the product's outer dimension; rows are multiplied (v).
  __device__ static Descriptor by_columns(unsigned shared) {
    return kSwizzled | Descriptor{kPanelBytes >> 4} << 16 | shared >> 4;
  }
  /// The 16 rows number i of such a tile, to be added.
  __device__ static constexpr Descriptor rows_depth(int i) { return i * (16 * 128 >> 4); }
};

}  // namespace fovea
