// SPDX-License-Identifier: Apache-2.0
#include "contract/matmul_tiles.h"

#include <gtest/gtest.h>

#include <vector>

namespace fovea {
namespace {

TEST(MatmulTiles, every_tile_is_visited_once_whatever_the_group) {
  for (int tiles_m = 1; tiles_m <= 9; ++tiles_m) {
    for (int tiles_n = 1; tiles_n <= 6; ++tiles_n) {
      for (int group = 1; group <= tiles_m; ++group) {
        MatmulSchedule s;
        set_tiles(s, tiles_m, tiles_n, group);
        constexpr int kBatch = 2;
        std::vector<int> visits(static_cast<std::size_t>(tiles_m * tiles_n * kBatch), 0);
        for (int index = 0; index < tiles_m * tiles_n * kBatch; ++index) {
          const MatmulTilePlace p = tile_at(s, index);
          ASSERT_TRUE(p.m >= 0 && p.m < tiles_m && p.n >= 0 && p.n < tiles_n && p.batch >= 0 && p.batch < kBatch);
          if (p.batch == 0) {
            const MatmulTilePlace alone = tile_at(s, index, /*has_batch=*/false);
            ASSERT_TRUE(alone.m == p.m && alone.n == p.n && alone.batch == 0);
          }
          ++visits[static_cast<std::size_t>((p.batch * tiles_m + p.m) * tiles_n + p.n)];
        }
        for (const int count : visits) EXPECT_EQ(count, 1) << tiles_m << " " << tiles_n << " " << group;
      }
    }
  }
}

TEST(MatmulTiles, neighbours_in_time_walk_down_a_group_of_rows) {
  MatmulSchedule s;
  set_tiles(s, 8, 4, 4);
  EXPECT_EQ(tile_at(s, 3).m, 3);
  EXPECT_EQ(tile_at(s, 4).m, 0);
  EXPECT_EQ(tile_at(s, 4).n, 1);
  EXPECT_EQ(tile_at(s, 16).m, 4);
}

TEST(MatmulTiles, splits_of_k_touch_and_cover_it) {
  for (const int k : {0, 1, 31, 32, 33, 1000}) {
    for (const int splits : {1, 2, 3, 7}) {
      MatmulSchedule s;
      set_tiles(s, 2, 3, 1);
      s.num_splits = splits;
      const int steps = (k + 31) / 32;
      s.k_per_split = (steps + splits - 1) / splits * 32;
      int end = 0;
      for (int i = 0; i < splits; ++i) {
        const MatmulTilePart part = part_at(s, 4 * splits + i, k);
        EXPECT_EQ(part.split, i);
        EXPECT_EQ(part.k_begin, end);
        EXPECT_GE(part.k_end, part.k_begin);
        end = part.k_end;
      }
      EXPECT_EQ(end, k) << splits;
    }
  }
}

}  // namespace
}  // namespace fovea
