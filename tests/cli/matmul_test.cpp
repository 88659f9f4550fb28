// SPDX-License-Identifier: Apache-2.0
// The commands of the matrix product as a user calls them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/cli/command.h"

namespace fovea::test {
namespace {

TEST(MatmulCommand, verify_passes_and_says_so_in_json) {
  const nlohmann::json result =
      json_of(run_fovea("verify matmul --shapes 37x41x43,2x5x6x7 --dtype bf16 --activation gelu --bias --json"));
  EXPECT_EQ(result["passed"], true);
  ASSERT_EQ(result["cases"].size(), 2u);
  EXPECT_EQ(result["cases"][1]["problem"], "matmul bf16 b=2 m=5 n=6 k=7 nn bias gelu");
  EXPECT_GT(result["cases"][0]["d"]["max_error"], 0.0);
}

TEST(MatmulCommand, explain_names_kernel_tile_and_orders) {
  const nlohmann::json plan =
      json_of(run_fovea("explain matmul --shape 300x200x100 --transpose-b --dtype fp32 --json"));
  EXPECT_EQ(plan["kernel"], "matmul_cpu");
  EXPECT_EQ(plan["problem"], "matmul fp32 m=300 n=200 k=100 nt");
  EXPECT_GT(plan["config"]["block_k"], 0);
}

TEST(MatmulCommand, bench_tells_the_share_of_the_peak) {
  const nlohmann::json document =
      json_of(run_fovea("bench matmul --shape 96x96x96 --dtype fp32 --quick --threads 1 --json"));
  ASSERT_EQ(document["rows"].size(), 1u);
  EXPECT_GT(document["rows"][0]["percent_of_peak"]["median"], 0.0);
  EXPECT_EQ(document["rows"][0]["flops"], 2.0 * 96 * 96 * 96);
}

TEST(MatmulCommand, experiment_marks_the_models_pick_and_its_loss) {
  const std::string arguments =
      "experiment --shape 128x128x128 --dtype fp32 --block-m 64 --block-n 64,128 --block-k 64 --seconds 0.002 "
      "--threads 1";
  const nlohmann::json document = json_of(run_fovea(arguments + " --json"));
  ASSERT_EQ(document[0]["tiles"].size(), 3u);
  EXPECT_EQ(document[0]["pick"], 0);
  EXPECT_GE(document[0]["loss"], 0.0);
  const CommandResult chart = run_fovea(arguments);
  EXPECT_NE(chart.out.find("<- cost model"), std::string::npos) << chart.out;
  EXPECT_NE(chart.out.find("% below the best tile of 3"), std::string::npos) << chart.out;
}

TEST(MatmulCommand, random_shapes_say_how_often_the_pick_is_good) {
  const nlohmann::json document =
      json_of(run_fovea("experiment --random 3 --dtype fp32 --seconds 0.001 --threads 1 --json"));
  ASSERT_EQ(document["rows"].size(), 3u);
  EXPECT_GE(document["rows"][0]["candidates"], 1);
  EXPECT_LE(document["within_5_percent"], 3);
}

TEST(MatmulCommand, tune_is_found_by_the_next_process) {
  char name[] = "/tmp/fovea_tune_XXXXXX";
  const std::string cache = mkdtemp(name);
  const std::string environment = "FOVEA_CACHE_DIR=" + cache;
  const CommandResult tuned =
      run_fovea("tune matmul --shapes 70x90x600 --dtype fp32 --threads 1 --seconds 0.005", environment);
  EXPECT_EQ(tuned.exit_code, 0) << tuned.err;
  const nlohmann::json plan =
      json_of(run_fovea("explain matmul --shape 70x90x600 --dtype fp32 --threads 1 --json", environment));
  EXPECT_EQ(plan["choice"], "tuning table");
  std::filesystem::remove_all(cache);
}

TEST(MatmulCommand, bad_options_end_with_2_and_name_the_option) {
  for (const char* arguments :
       {"--shape 3x4", "--shape 3x4x", "--shape axbxc", "--shape 3x-4x5", "--dtype fp8", "--activation tanh",
        "--math slow", "--persistent maybe", "--block-m 64", "--isa mmx", "--kernel nonsense"}) {
    const CommandResult result = run_fovea(std::string("explain matmul --json ") + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << result.out << result.err;
  }
  EXPECT_EQ(run_fovea("tune matmul").exit_code, 2);
  EXPECT_EQ(run_fovea("tune matmul --shapes 8x8x8 --device tpu").exit_code, 2);
}

}  // namespace
}  // namespace fovea::test
