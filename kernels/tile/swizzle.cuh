// SPDX-License-Identifier: Apache-2.0
// Where the 16-byte chunks of a row-major tile of 16-bit elements lie in shared memory. Chunk c of row r is stored at
// c ^ flip(r), so that the eight rows that one phase of ldmatrix reads lie in eight different bank groups, for any
// number of columns that is a multiple of 16 (tests/kernels/swizzle_test.cpp tries them all). Readable by the host.
#pragma once

#include "contract/host_device.h"

namespace fovea {

template <int columns>
struct Swizzle {
  static_assert(columns % 16 == 0, "a row is a whole number of 32-byte pairs of chunks");
  static constexpr int kChunks = columns / 8;
  static constexpr int kRowBytes = columns * 2;
  // The largest power of two up to 8 that divides kChunks: chunks trade places only inside groups of this size.
  static constexpr int kPeriod = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2;
  static constexpr int kShift = kPeriod == 8 ? 0 : kPeriod == 4 ? 1 : 2;

  HOST_DEVICE static constexpr int flip(int row) { return (row >> kShift) & (kPeriod - 1); }
  HOST_DEVICE static constexpr int offset_bytes(int row, int chunk) {
    return row * kRowBytes + (chunk ^ flip(row)) * 16;
  }
};

/// The same for 32-bit elements that a warp reads one by one, eight neighbours in each of four rows below each other
/// (fp32 operands whose rows are steps of k, which ldmatrix cannot transpose): 32 different banks.
template <int columns>
struct WordSwizzle {
  static_assert(columns % 16 == 0, "rows of 64 bytes");
  static constexpr int kChunks = columns / 4;
  static constexpr int kRowBytes = columns * 4;
  static constexpr int kPeriod = kChunks % 8 == 0 ? 8 : 4;

  HOST_DEVICE static constexpr int flip(int row) { return 2 * row & (kPeriod - 2); }
  HOST_DEVICE static constexpr int offset_bytes(int row, int chunk) {
    return row * kRowBytes + (chunk ^ flip(row)) * 16;
  }
};

}  // namespace fovea
