// SPDX-License-Identifier: Apache-2.0
// The GPU ring. Registers the case table for every GPU card, runs everything, ends with "N passed, N failed" and writes
// the record of the run: device, driver, counts, and a hash of what the run depends on.
//   fovea_gpu_tests [--record=FILE] [--gtest_filter=…]
// A filtered run writes no record unless it is told where. Exit status 0 only if nothing failed and a GPU was there.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

#include "fovea/version.h"
#include "gpu_sources_sha256.h"
#include "tests/gpu/cases_on_gpu.h"
#include "tests/gpu/gpu.h"
#include "tests/gpu/poison.h"

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

void write_record(const std::string& path) {
  const ::testing::UnitTest& run = *::testing::UnitTest::GetInstance();
  const int driver = gpu().runtime.impl().devices.driver().version;
  nlohmann::ordered_json j = {
      {"fovea", FOVEA_VERSION_STRING},
      {"date", now_utc()},
      {"device", gpu().info().name},
      {"architecture", gpu().info().architecture},
      {"driver_cuda_version", std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10)},
      {"nvrtc", gpu().runtime.impl().compiler.nvrtc().version()},
      {"passed", run.successful_test_count()},
      {"failed", run.failed_test_count()},
      {"skipped", run.skipped_test_count()},
      {"seconds", static_cast<double>(run.elapsed_time()) / 1e3},
      {"sources_sha256", FOVEA_GPU_SOURCES_SHA256},
  };
  auto failed = nlohmann::ordered_json::array();
  for (int s = 0; s < run.total_test_suite_count(); ++s) {
    const ::testing::TestSuite& suite = *run.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const ::testing::TestInfo& test = *suite.GetTestInfo(t);
      if (test.should_run() && test.result()->Failed()) failed.push_back(std::string(suite.name()) + "." + test.name());
    }
  }
  j["failures"] = failed;
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
  std::string record;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == kPoisonFlag) return run_poisoned();
    if (argument.starts_with("--record=")) record = argument.substr(9);
  }
  const cuda::Driver& driver = gpu().runtime.impl().devices.driver();
  if (!driver.present()) {
    std::printf("no GPU to test on: %s\n0 passed, 0 failed\n", driver.absence.c_str());
    return 1;
  }
  register_cases();
  const bool filtered = GTEST_FLAG_GET(filter) != "*" || GTEST_FLAG_GET(list_tests);
  const int status = RUN_ALL_TESTS();
  if (record.empty() && !filtered) record = default_record();
  if (!record.empty()) write_record(record);
  const ::testing::UnitTest& result = *::testing::UnitTest::GetInstance();
  std::printf("%d passed, %d failed\n", result.successful_test_count(), result.failed_test_count());
  return status;
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
