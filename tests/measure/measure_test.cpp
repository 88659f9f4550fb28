// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "measure/machine.h"
#include "measure/statistics.h"
#include "measure/stopwatch.h"

namespace fovea {
namespace {

TEST(Statistics, of_known_numbers) {
  const Statistics s = summarize({4, 1, 3, 2, 5});
  EXPECT_EQ(s.count, 5);
  EXPECT_EQ(s.minimum, 1);
  EXPECT_EQ(s.quartile_low, 2);
  EXPECT_EQ(s.median, 3);
  EXPECT_EQ(s.quartile_high, 4);
  EXPECT_EQ(s.maximum, 5);
  EXPECT_EQ(s.mean, 3);
  EXPECT_DOUBLE_EQ(s.spread(), 2.0 / 3);
}

TEST(Statistics, of_one_and_of_none) {
  EXPECT_EQ(summarize({7}).median, 7);
  EXPECT_EQ(summarize({7}).spread(), 0);
  EXPECT_EQ(summarize({}).count, 0);
  EXPECT_EQ(summarize({}).spread(), 0);
}

TEST(Statistics, quantiles_are_interpolated) {
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3, 4}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 0.25), 1.25);
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 1), 2);
}

TEST(Statistics, geometric_mean_of_inverse_ratios_is_one) {
  EXPECT_DOUBLE_EQ(geometric_mean({4, 0.25}), 1);
  EXPECT_EQ(geometric_mean({}), 0);
}

constexpr Repetitions kFew = {.warmups = 2, .least = 3, .least_seconds = 0, .most_seconds = 60, .call_seconds = 0};

TEST(Stopwatch, a_call_takes_what_it_sleeps) {
  const auto sleep = [] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  const std::vector<double> seconds = time_calls(sleep, kFew);
  ASSERT_EQ(seconds.size(), 3u);
  for (const double s : seconds) EXPECT_GE(s, 4.9e-3);
}

TEST(Stopwatch, warm_ups_are_made_and_not_counted) {
  int calls = 0;
  EXPECT_EQ(time_calls([&] { ++calls; }, kFew).size(), 3u);
  EXPECT_GE(calls, 5);
}

TEST(Stopwatch, short_calls_are_repeated_within_a_repetition) {
  int calls = 0;
  const Repetitions repetitions = {
      .warmups = 1, .least = 2, .least_seconds = 0, .most_seconds = 60, .call_seconds = 1e-3};
  time_calls([&] { ++calls; }, repetitions);
  EXPECT_GT(calls, 100);
}

TEST(Stopwatch, stops_when_the_time_is_up) {
  const Repetitions repetitions = {
      .warmups = 0, .least = 1000000, .least_seconds = 1e6, .most_seconds = 0.02, .call_seconds = 0};
  const double start = now_seconds();
  EXPECT_GE(time_calls([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }, repetitions).size(), 1u);
  EXPECT_LT(now_seconds() - start, 10);
}

TEST(Stopwatch, fractions_are_of_the_peak_read_just_before) {
  std::vector<char> order;
  double peak = 0;
  const PairedMeasurement m = time_calls_beside_peak(
      [&] {
        order.push_back('c');
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      1000, [&] { return order.push_back('p'), peak += 100; }, kFew);
  EXPECT_EQ(std::string(order.begin(), order.end()), "ccpcpcpc");
  ASSERT_EQ(m.fractions.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(m.peaks[i], 100.0 * static_cast<double>(i + 1));
    EXPECT_DOUBLE_EQ(m.fractions[i], 1000 / m.seconds[i] / m.peaks[i]);
  }
}

TEST(Stopwatch, calls_in_turn_take_turns) {
  std::string order;
  const auto seconds = time_calls_in_turn({[&] { order += 'a'; }, [&] { order += 'b'; }},
                                          {.warmups = 0, .least = 3, .least_seconds = 0, .call_seconds = 0});
  EXPECT_EQ(order, "ababab");
  EXPECT_EQ(seconds[0].size(), 3u);
  EXPECT_EQ(seconds[1].size(), 3u);
}

TEST(Machine, says_where_and_when) {
  const Machine m = describe_machine(2, "avx2");
  EXPECT_EQ(m.num_threads, 2);
  EXPECT_EQ(m.isa, "avx2");
  EXPECT_FALSE(m.processor.model_name.empty());
  EXPECT_FALSE(m.compiler.empty());
  EXPECT_EQ(m.date.size(), 20u) << m.date;
  EXPECT_EQ(m.date.back(), 'Z');
}

class CommitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("fovea_commit_" + std::to_string(::getpid()));
    std::filesystem::create_directories(root_ / ".git/refs/heads");
    std::filesystem::create_directories(root_ / "src/deep");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(root_ / name) << text; }
  std::filesystem::path root_;
  const std::string commit_ = "0123456789abcdef0123456789abcdef01234567";
};

TEST_F(CommitTest, of_a_branch_is_found_from_below) {
  write(".git/HEAD", "ref: refs/heads/main\n");
  write(".git/refs/heads/main", commit_ + "\n");
  EXPECT_EQ(checked_out_commit((root_ / "src/deep").string()), commit_);
}

TEST_F(CommitTest, of_a_packed_branch_and_of_a_detached_head) {
  write(".git/HEAD", "ref: refs/heads/main\n");
  write(".git/packed-refs", "# pack-refs with: peeled\n" + commit_ + " refs/heads/main\n");
  EXPECT_EQ(checked_out_commit(root_.string()), commit_);
  write(".git/HEAD", "fedc" + commit_.substr(4) + "\n");
  EXPECT_EQ(checked_out_commit(root_.string()), "fedc" + commit_.substr(4));
}

TEST_F(CommitTest, of_no_repository_is_empty) {
  EXPECT_EQ(checked_out_commit("/"), "");
  EXPECT_EQ(checked_out_commit(root_.string()), "") << "no HEAD";
}

}  // namespace
}  // namespace fovea
