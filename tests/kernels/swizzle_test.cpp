// SPDX-License-Identifier: Apache-2.0
// The swizzle of shared tiles, and what ldmatrix makes of it, emulated on the host: banks, coverage and fragments.
#include "kernels/tile/swizzle.cuh"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace fovea {
namespace {

constexpr int kBankBytes = 128;  // one wavefront of shared memory
constexpr int kRows = 64;

template <int columns>
void expect_a_permutation_of_the_tile() {
  using Layout = Swizzle<columns>;
  std::set<int> seen;
  for (int row = 0; row < kRows; ++row) {
    for (int chunk = 0; chunk < Layout::kChunks; ++chunk) {
      const int offset = Layout::offset_bytes(row, chunk);
      EXPECT_EQ(offset % 16, 0);
      EXPECT_EQ(offset / Layout::kRowBytes, row) << "a chunk stays in its row";
      EXPECT_TRUE(seen.insert(offset).second) << columns << " columns, row " << row << ", chunk " << chunk;
    }
  }
}

/// Eight rows of one chunk column, the unit that ldmatrix reads at once, and 16-byte stores of eight neighbours.
template <int columns>
void expect_no_bank_conflict() {
  using Layout = Swizzle<columns>;
  for (int first = 0; first < kRows; first += 8) {
    for (int chunk = 0; chunk < Layout::kChunks; ++chunk) {
      std::set<int> banks;
      for (int row = first; row < first + 8; ++row) banks.insert(Layout::offset_bytes(row, chunk) % kBankBytes / 16);
      EXPECT_EQ(banks.size(), 8u) << columns << " columns, rows from " << first << ", chunk " << chunk;
    }
  }
}

/// The loaders compute one offset and add whole groups of 8 rows to it.
template <int columns>
void expect_the_pattern_to_repeat_every_8_rows() {
  using Layout = Swizzle<columns>;
  for (int row = 0; row + 8 < kRows; ++row) {
    for (int chunk = 0; chunk < Layout::kChunks; ++chunk) {
      EXPECT_EQ(Layout::offset_bytes(row + 8, chunk) - Layout::offset_bytes(row, chunk), 8 * Layout::kRowBytes);
    }
  }
}

/// A reader that holds kPeriod / 2 offsets reaches every 16-column block by adding a constant.
template <int columns>
void expect_blocks_of_16_columns_to_share_offsets() {
  using Layout = Swizzle<columns>;
  constexpr int kGroups = Layout::kPeriod / 2;
  for (int row = 0; row < 16; ++row) {
    for (int block = 0; block < columns / 16; ++block) {
      for (int half = 0; half < 2; ++half) {
        EXPECT_EQ(Layout::offset_bytes(row, 2 * block + half),
                  Layout::offset_bytes(row, 2 * (block % kGroups) + half) + block / kGroups * (kGroups * 32));
      }
    }
  }
}

template <int columns>
void expect_all() {
  expect_a_permutation_of_the_tile<columns>();
  expect_no_bank_conflict<columns>();
  expect_the_pattern_to_repeat_every_8_rows<columns>();
  expect_blocks_of_16_columns_to_share_offsets<columns>();
}

template <int... sixteenths>
void expect_all_up_to(std::integer_sequence<int, sixteenths...>) {
  (expect_all<16 * (sixteenths + 1)>(), ...);
}

TEST(Swizzle, every_head_dim_up_to_512_has_a_tile_without_bank_conflicts) {
  expect_all_up_to(std::make_integer_sequence<int, 32>());
}

}  // namespace
}  // namespace fovea
