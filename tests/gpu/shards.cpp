// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/shards.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

namespace fovea::testing {
namespace {

namespace fs = std::filesystem;

std::string log_of(const fs::path& folder, int shard) { return (folder / ("log" + std::to_string(shard))).string(); }
std::string outcome_path(const fs::path& folder, int shard) {
  return (folder / ("outcome" + std::to_string(shard))).string();
}

pid_t start_shard(const fs::path& folder, int shard, int jobs) {
  const pid_t child = fork();
  if (child != 0) return child;
  const int log = open(log_of(folder, shard).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  setenv("GTEST_TOTAL_SHARDS", std::to_string(jobs).c_str(), 1);
  setenv("GTEST_SHARD_INDEX", std::to_string(shard).c_str(), 1);
  const std::string filter = std::string("--gtest_filter=") + kShardedTests;
  const std::string outcome = "--outcome=" + outcome_path(folder, shard);
  execl("/proc/self/exe", "fovea_gpu_tests", filter.c_str(), "--gtest_brief=1", outcome.c_str(), nullptr);
  _exit(127);
}

Outcome read_outcome(const std::string& path, int shard) {
  std::ifstream file(path);
  const auto j = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!j.is_object()) return {0, 1, 0, {"process " + std::to_string(shard) + " ended before its tests did"}};
  return {j.at("passed"), j.at("failed"), j.at("skipped"), j.at("failures").get<std::vector<std::string>>()};
}

}  // namespace

void Outcome::add(const Outcome& other) {
  passed += other.passed;
  failed += other.failed;
  skipped += other.skipped;
  failures.insert(failures.end(), other.failures.begin(), other.failures.end());
}

Outcome outcome_of_this_process() {
  const ::testing::UnitTest& run = *::testing::UnitTest::GetInstance();
  Outcome outcome = {run.successful_test_count(), run.failed_test_count(), run.skipped_test_count(), {}};
  for (int s = 0; s < run.total_test_suite_count(); ++s) {
    const ::testing::TestSuite& suite = *run.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const ::testing::TestInfo& test = *suite.GetTestInfo(t);
      if (!test.should_run() || !test.result()->Failed()) continue;
      outcome.failures.push_back(std::string(suite.name()) + "." + test.name());
    }
  }
  return outcome;
}

Outcome run_sharded(int jobs) {
  std::string pattern = (fs::temp_directory_path() / "fovea_gpu_tests.XXXXXX").string();
  const char* made = mkdtemp(pattern.data());
  if (!made) return {0, 1, 0, {"no temporary folder could be made in " + fs::temp_directory_path().string()}};
  const fs::path folder = made;
  std::fflush(nullptr);
  std::vector<pid_t> shards;
  for (int shard = 0; shard < jobs; ++shard) shards.push_back(start_shard(folder, shard, jobs));
  Outcome all;
  for (int shard = 0; shard < jobs; ++shard) {
    if (shards[static_cast<std::size_t>(shard)] > 0) waitpid(shards[static_cast<std::size_t>(shard)], nullptr, 0);
    const Outcome one = read_outcome(outcome_path(folder, shard), shard);
    if (one.failed > 0) std::cout << std::ifstream(log_of(folder, shard)).rdbuf() << std::flush;
    all.add(one);
  }
  std::error_code error;
  fs::remove_all(folder, error);
  return all;
}

void write_outcome(const std::string& path) {
  const Outcome outcome = outcome_of_this_process();
  const nlohmann::json j = {{"passed", outcome.passed},
                            {"failed", outcome.failed},
                            {"skipped", outcome.skipped},
                            {"failures", outcome.failures}};
  std::ofstream(path) << j.dump();
}

}  // namespace fovea::testing
