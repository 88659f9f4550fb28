// SPDX-License-Identifier: Apache-2.0
// explain, verify, bench and demo as a user calls them.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/cli/command.h"

namespace fovea::test {
namespace {

namespace fs = std::filesystem;

/// An empty folder that goes with the test.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/fovea_cli_folder_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The longest line in characters of UTF-8.
std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0, here = 0;
  for (const unsigned char c : text) {
    if (c == '\n') {
      longest = std::max(longest, here);
      here = 0;
    } else if ((c & 0xc0) != 0x80) {
      ++here;
    }
  }
  return std::max(longest, here);
}

bool is_ascii(const std::string& text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) > 126) return false;
  }
  return true;
}

TEST(Explain, names_the_kernel_the_tile_and_the_share_that_is_skipped) {
  const nlohmann::json plan = json_of(run_fovea("explain attention --seqlen 65536 --heads 32/8 --causal --json"));
  EXPECT_EQ(plan["kernel"], "attention_forward_cpu");
  EXPECT_GT(plan["config"]["block_q"], 0);
  EXPECT_GT(plan["tiles"]["skipped"], 0);
}

TEST(Explain, packed_sequences_are_planned_without_data) {
  const CommandResult result = run_fovea("explain attention --layout thd --batch 3 --seqlen 100");
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST(Explain, bad_options_end_with_2_and_name_the_option) {
  for (const char* arguments :
       {"--window 5", "--window 5,x", "--heads 32/x", "--head-dim /64", "--dtype fp8", "--layout hsbd", "--seqlen -1",
        "--heads 32/5", "--isa mmx", "--kernel nonsense", "--arch sm_12345"}) {
    const CommandResult result = run_fovea(std::string("explain attention --json ") + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << result.out << result.err;
    EXPECT_TRUE(json_of(result).contains("error")) << arguments;
  }
}

TEST(Verify, a_described_problem_passes_on_all_inputs) {
  const CommandResult result =
      run_fovea("verify attention --seqlen 70 --heads 4/2 --head-dim 64 --dtype fp32 --causal --lse --json");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json report = json_of(result);
  EXPECT_EQ(report["passed"], true);
  EXPECT_EQ(report["cases"].size(), 4u);
  for (const nlohmann::json& row : report["cases"]) EXPECT_TRUE(row.contains("lse"));
}

TEST(Verify, one_kind_of_inputs_can_be_asked_for) {
  const nlohmann::json report =
      json_of(run_fovea("verify attention --seqlen 30 --heads 1 --head-dim 16 --inputs rising --json"));
  ASSERT_EQ(report["cases"].size(), 1u);
  EXPECT_EQ(report["cases"][0]["inputs"], "rising scores");
  EXPECT_EQ(run_fovea("verify attention --inputs flat").exit_code, 2);
}

TEST(Verify, an_option_of_the_call_describes_a_problem_too) {
  EXPECT_EQ(run_fovea("verify attention --softcap -1").exit_code, 2);
}

TEST(Verify, the_default_table_passes) {
  const CommandResult result = run_fovea("verify attention --rows 64");
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_FALSE(has_escape_codes(result.out));
}

TEST(Bench, a_described_problem_gives_time_rate_and_share_of_peak) {
  const Folder folder;
  const std::string file = folder / "result.json";
  const CommandResult result = run_fovea(
      "bench attention --quick --seqlen 128 --heads 2 --head-dim 64 --dtype fp32 --threads 1 --json --output " + file);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json document = json_of(result);
  ASSERT_EQ(document["rows"].size(), 1u);
  EXPECT_GT(document["rows"][0]["gflops"], 0.0);
  EXPECT_GT(document["rows"][0]["percent_of_peak"]["median"], 0.0);
  EXPECT_EQ(document["machine"]["threads"], 1);
  std::ostringstream written;
  written << std::ifstream(file).rdbuf();
  EXPECT_EQ(nlohmann::json::parse(written.str(), nullptr, false), document);
}

TEST(Bench, an_output_folder_that_is_not_there_is_refused_before_the_work) {
  const CommandResult result = run_fovea("bench attention --quick --output /nonexistent/folder/result.json");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
}

TEST(Bench, one_query_is_measured_in_bytes) {
  const nlohmann::json document = json_of(
      run_fovea("bench attention --quick --seqlen-q 1 --seqlen-k 500 --heads 8/2 --head-dim 64 --threads 1 --json"));
  ASSERT_EQ(document["rows"].size(), 1u);
  EXPECT_GT(document["rows"][0]["gigabytes_per_second"], 0.0);
  EXPECT_EQ(document["rows"][0]["bytes"], 2.0 * 500 * 2 * (64 + 64));
}

constexpr const char* kSmallDemo = "demo --seqlen 200 --heads 8/2 --head-dim 32 --threads 1";

TEST(Demo, fits_80_columns_of_plain_ascii_without_a_terminal) {
  const CommandResult result = run_fovea(std::string(kSmallDemo));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LE(longest_line(result.out), 80u) << result.out;
  EXPECT_TRUE(is_ascii(result.out));
  EXPECT_FALSE(has_escape_codes(result.out));
  EXPECT_NE(result.out.find("passed"), std::string::npos);
}

TEST(Demo, draws_with_block_characters_where_the_locale_has_them) {
  const CommandResult result = run_fovea(std::string(kSmallDemo), "LC_ALL=C.UTF-8");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LE(longest_line(result.out), 80u) << result.out;
  EXPECT_FALSE(is_ascii(result.out));
  EXPECT_TRUE(is_ascii(run_fovea(std::string(kSmallDemo) + " --ascii", "LC_ALL=C.UTF-8").out));
}

TEST(Demo, has_colours_on_a_terminal_and_none_with_no_color) {
  EXPECT_TRUE(has_escape_codes(run_fovea_on_terminal(kSmallDemo, "TERM=xterm").out));
  EXPECT_FALSE(has_escape_codes(run_fovea_on_terminal(kSmallDemo, "TERM=xterm NO_COLOR=1").out));
  EXPECT_FALSE(has_escape_codes(run_fovea_on_terminal(kSmallDemo, "TERM=dumb").out));
}

TEST(Demo, windows_full_masks_and_odd_lengths_work_in_every_dtype) {
  for (const char* arguments :
       {"--window 20", "--full --window 3,open", "--full", "--seqlen 1", "--seqlen 17 --dtype fp32", "--dtype fp16"}) {
    const CommandResult result = run_fovea(std::string(kSmallDemo) + " --json " + arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << result.err;
    EXPECT_EQ(json_of(result)["check"]["passed"], true) << arguments;
  }
}

}  // namespace
}  // namespace fovea::test
