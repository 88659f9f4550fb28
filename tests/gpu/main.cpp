// SPDX-License-Identifier: Apache-2.0
// The GPU ring. Registers the case table for every GPU card, runs everything, ends with "N passed, N failed" and writes
// the record of the run: device, driver, counts, and a hash of what the run depends on.
//   fovea_gpu_tests [--record=FILE] [--jobs=N] [--gtest_filter=…]
// The case tables run in N processes (default: one per two processors, at most 8), the other tests after them, alone. A
// filtered run is one process, and writes no record unless it is told where. Exit status 0 only if nothing failed and a
// GPU was there.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "fovea/version.h"
#include "gpu_sources_sha256.h"
#include "tests/gpu/cases_on_gpu.h"
#include "tests/gpu/gpu.h"
#include "tests/gpu/matmul_on_gpu.h"
#include "tests/gpu/poison.h"
#include "tests/gpu/shards.h"

namespace fovea::testing {
namespace {

std::string now_utc() {
  char text[32];
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

void write_record(const std::string& path, const Outcome& outcome, double seconds) {
  const int driver = gpu().runtime.impl().devices.driver().version;
  const nlohmann::ordered_json j = {
      {"fovea", FOVEA_VERSION_STRING},
      {"date", now_utc()},
      {"device", gpu().info().name},
      {"architecture", gpu().info().architecture},
      {"driver_cuda_version", std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10)},
      {"nvrtc", gpu().runtime.impl().compiler.nvrtc().version()},
      {"passed", outcome.passed},
      {"failed", outcome.failed},
      {"skipped", outcome.skipped},
      {"seconds", seconds},
      {"sources_sha256", FOVEA_GPU_SOURCES_SHA256},
      {"failures", outcome.failures},
  };
  std::ofstream(path) << j.dump(2) << "\n";
}

/// In the source tree this program was built from, if that is here; else in the working folder.
std::string default_record() {
  std::error_code error;
  const std::string folder = FOVEA_SOURCE_DIR "/tests/gpu";
  return std::filesystem::is_directory(folder, error) ? folder + "/last_run.json" : "last_run.json";
}

int run(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::string record, outcome_file;
  int jobs = std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 1, 8);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == kPoisonFlag) return run_poisoned();
    if (argument.starts_with("--record=")) record = argument.substr(9);
    if (argument.starts_with("--outcome=")) outcome_file = argument.substr(10);
    if (argument.starts_with("--jobs=")) jobs = std::max(1, std::atoi(argument.c_str() + 7));
  }
  const cuda::Driver& driver = gpu().runtime.impl().devices.driver();
  if (!driver.present()) {
    std::printf("no GPU to test on: %s\n0 passed, 0 failed\n", driver.absence.c_str());
    return 1;
  }
  register_cases();
  register_matmul_cases();
  const auto started = std::chrono::steady_clock::now();
  const bool filtered = GTEST_FLAG_GET(filter) != "*" || GTEST_FLAG_GET(list_tests);
  Outcome outcome;
  if (!filtered && jobs > 1) {
    outcome = run_sharded(jobs);
    GTEST_FLAG_SET(filter, std::string("-") + kShardedTests);
  }
  const int status = RUN_ALL_TESTS();
  if (!outcome_file.empty()) {
    write_outcome(outcome_file);
    return status;
  }
  outcome.add(outcome_of_this_process());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  if (record.empty() && !filtered) record = default_record();
  if (!record.empty()) write_record(record, outcome, seconds.count());
  std::printf("%d passed, %d failed\n", outcome.passed, outcome.failed);
  return status != 0 || outcome.failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace fovea::testing

int main(int argc, char** argv) {
  try {
    return fovea::testing::run(argc, argv);
  } catch (const std::exception& error) {
    std::printf("fovea_gpu_tests: %s\n", error.what());
    return 1;
  }
}
