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

  /// Of an address: a block of a cluster has its rank above the 18 bits that a descriptor takes.
  __device__ static Descriptor at(unsigned shared) { return (shared & 0x3ffff) >> 4; }

  /// As rows of the product's outer dimension; their columns are multiplied (q, k).
  __device__ static Descriptor by_rows(unsigned shared) { return kSwizzled | Descriptor{1} << 16 | at(shared); }
  /// The 16 columns number i of such a tile, to be added.
  __device__ static constexpr Descriptor depth(int i) { return i / 4 * (kPanelBytes >> 4) + i % 4 * 2; }

  /// As columns of the product's outer dimension; rows are multiplied (v).
  __device__ static Descriptor by_columns(unsigned shared) {
    return kSwizzled | Descriptor{kPanelBytes >> 4} << 16 | at(shared);
  }
  /// The 16 rows number i of such a tile, to be added.
  __device__ static constexpr Descriptor rows_depth(int i) { return i * (16 * 128 >> 4); }
};

/// Descriptor of an operand in shared memory under the swizzle of 128 or 64 bytes, its start a multiple of eight times
/// that plus whole steps. Strides in bytes, here for 128. K-major (k contiguous; rows of 128 bytes): group is the
/// distance of 8 rows, 1024, panel is not used. MN-major (panels of 64 along m or n): group is the distance of 8 steps
/// of k, panel that of two panels. Add (bytes >> 4) to move: 32 bytes for 16 steps of k of a K-major operand, 2048 for
/// those of an MN-major one.
template <int swizzle_bytes = 128>
__device__ inline unsigned long long wgmma_descriptor(unsigned address, int panel_bytes, int group_bytes) {
  static_assert(swizzle_bytes == 128 || swizzle_bytes == 64);
  return (swizzle_bytes == 128 ? 1ull : 2ull) << 62 | static_cast<unsigned long long>(group_bytes >> 4) << 32 |
         static_cast<unsigned long long>(panel_bytes >> 4) << 16 | (address & 0x3ffff) >> 4;
}

}  // namespace fovea
