// SPDX-License-Identifier: Apache-2.0
// The tuning table on disk: kept across objects, merged with what others wrote, and harmless when damaged.
#include "plan/tuning_table.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "fovea/error.h"
#include "plan/matmul_plan.h"

namespace fovea {
namespace {

/// A path in an empty folder that goes with the test; the folder below it does not exist yet.
class Place {
 public:
  Place() {
    char name[] = "/tmp/fovea_tuning_XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~Place() { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/below/tuning.json"; }

 private:
  std::string folder_;
};

const TunedEntry kEntry = {"matmul_cpu", {{"block_m", 96}, {"packs_a", 1}}};

TEST(TuningTable, what_is_stored_is_found_by_another_process) {
  const Place place;
  TuningTable(place.path()).store("matmul", "a processor", "a bucket", kEntry);
  TuningTable other(place.path());
  EXPECT_EQ(other.find("matmul", "a processor", "a bucket"), kEntry);
  EXPECT_EQ(other.find("matmul", "another", "a bucket"), std::nullopt);
}

TEST(TuningTable, writers_at_the_same_time_keep_each_others_entries) {
  const Place place;
  std::vector<std::thread> writers;
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([&place, i] {
      for (int j = 0; j < 5; ++j) {
        TuningTable(place.path()).store("matmul", std::to_string(i), std::to_string(j), kEntry);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  TuningTable table(place.path());
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 5; ++j) {
      EXPECT_TRUE(table.find("matmul", std::to_string(i), std::to_string(j))) << i << " " << j;
    }
  }
}

TEST(TuningTable, a_damaged_file_counts_as_empty_and_is_replaced) {
  const Place place;
  TuningTable(place.path()).store("matmul", "x", "y", kEntry);
  std::ofstream(place.path()) << "{\"format\": 1, \"entries\": {\"matm";
  set_log_level(LogLevel::kError);
  TuningTable table(place.path());
  EXPECT_EQ(table.find("matmul", "x", "y"), std::nullopt);
  table.store("matmul", "x", "z", kEntry);
  set_log_level(LogLevel::kWarn);
  EXPECT_TRUE(TuningTable(place.path()).find("matmul", "x", "z"));
}

TEST(TuningTable, a_place_that_cannot_be_written_is_an_error_that_names_it) {
  try {
    TuningTable("/proc/nowhere/tuning.json").store("matmul", "x", "y", kEntry);
    FAIL() << "stored";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_NE(std::string(error.what()).find("/proc/nowhere/tuning.json"), std::string::npos) << error.what();
  }
}

TEST(MatmulBucket, is_exact_for_small_sizes_and_narrow_for_large_ones) {
  MatmulProblem p;
  p.m = 31, p.n = 1000, p.k = 4096;
  const MatmulProblem b = bucket_of(p);
  EXPECT_EQ(b.m, 31);
  EXPECT_EQ(b.n, 1008);
  EXPECT_EQ(b.k, 4096);
  p.m = 2049, p.n = 2147483647;
  EXPECT_EQ(bucket_of(p).m, 2112);
  EXPECT_GE(bucket_of(p).n, 2147483647);
}

TEST(MatmulBucket, a_tile_travels_through_the_table_unchanged) {
  const MatmulTile tile = {
      .block_m = 6, .block_n = 64, .block_k = 32, .num_splits = 2, .persistent = false, .packs_b = true};
  EXPECT_EQ(tile_from(numbers_of(tile)), tile);
  EXPECT_FALSE(tile_from({{"block_m", 6}}).persistent.has_value());
}

}  // namespace
}  // namespace fovea
