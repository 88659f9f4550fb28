// SPDX-License-Identifier: Apache-2.0
// What every command keeps to: exit codes, one line of error, JSON errors, no escape codes where they do not belong.
#include <gtest/gtest.h>

#include <algorithm>

#include "fovea/version.h"
#include "tests/cli/command.h"

namespace fovea::test {
namespace {

long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(Usage, version_prints_the_version) {
  const CommandResult result = run_fovea("--version");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "fovea " FOVEA_VERSION_STRING "\n");
}

TEST(Usage, help_of_the_program_and_of_a_command_shows_examples) {
  for (const char* arguments : {"--help", "info --help"}) {
    const CommandResult result = run_fovea(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments;
    EXPECT_NE(result.out.find("Examples:"), std::string::npos) << arguments;
  }
}

TEST(Usage, wrong_usage_ends_with_2_and_one_line_that_names_the_way_out) {
  for (const char* arguments : {"", "nonsense", "info --bogus", "--bogus"}) {
    const CommandResult result = run_fovea(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_EQ(lines(result.err), 1) << arguments << ": " << result.err;
    EXPECT_NE(result.err.find("--help"), std::string::npos) << result.err;
  }
}

TEST(Usage, wrong_usage_with_json_is_a_json_document) {
  const CommandResult result = run_fovea("info --json --bogus");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(json_of(result)["error"]["code"], "invalid_argument");
}

TEST(Usage, a_bad_environment_variable_is_named) {
  const CommandResult result = run_fovea("info --json", "FOVEA_NUM_THREADS=many");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(json_of(result)["error"]["field"], "FOVEA_NUM_THREADS");
}

TEST(Info, json_names_where_each_setting_came_from) {
  const nlohmann::json info = json_of(run_fovea("info --json", "FOVEA_NUM_THREADS=1 XDG_CACHE_HOME=/tmp/x"));
  EXPECT_EQ(info["version"], FOVEA_VERSION_STRING);
  EXPECT_EQ(info["settings"]["num_threads"]["from"], "FOVEA_NUM_THREADS");
  EXPECT_EQ(info["settings"]["cache_dir"]["value"], "/tmp/x/fovea");
  EXPECT_EQ(info["settings"]["cache_dir"]["from"], "XDG_CACHE_HOME");
}

TEST(Info, text_has_no_escape_codes_without_a_terminal) {
  const CommandResult result = run_fovea("info", "TERM=xterm-256color");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(has_escape_codes(result.out));
}

TEST(Info, no_color_is_respected_on_a_terminal) {
  const CommandResult result = run_fovea_on_terminal("info", "TERM=xterm-256color NO_COLOR=1");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_FALSE(has_escape_codes(result.out));
}

}  // namespace
}  // namespace fovea::test
