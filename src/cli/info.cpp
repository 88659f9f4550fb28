// SPDX-License-Identifier: Apache-2.0
// fovea info: this machine as Fovea sees it.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "base/settings.h"
#include "cli/commands.h"
#include "fovea/version.h"

namespace fovea::cli {
namespace {

struct SettingRow {
  std::string name, value, from;
};

std::vector<SettingRow> setting_rows(const Settings& s) {
  const auto given = [](const std::string& value, const char* name) { return value.empty() ? "default" : name; };
  return {
      {"num_threads", s.num_threads > 0 ? std::to_string(s.num_threads) : "",
       given(s.num_threads_from, s.num_threads_from.c_str())},
      {"cpu_isa", s.cpu_isa, given(s.cpu_isa, "FOVEA_CPU_ISA")},
      {"cache_dir", s.cache_dir, given(s.cache_dir_from, s.cache_dir_from.c_str())},
      {"kernel_dir", s.kernel_dir, given(s.kernel_dir, "FOVEA_KERNEL_DIR")},
      {"nvrtc_library", s.nvrtc_library, given(s.nvrtc_library, "FOVEA_NVRTC")},
      {"cuda_home", s.cuda_home, given(s.cuda_home_from, s.cuda_home_from.c_str())},
      {"log_level", s.log_level.empty() ? "warn" : s.log_level, given(s.log_level, "FOVEA_LOG")},
  };
}

int run_info(bool json) {
  const std::vector<SettingRow> rows = setting_rows(read_settings());
  if (json) {
    nlohmann::ordered_json document = {{"version", FOVEA_VERSION_STRING}, {"compiler", __VERSION__}};
    for (const SettingRow& row : rows) document["settings"][row.name] = {{"value", row.value}, {"from", row.from}};
    fmt::print("{}\n", document.dump(2));
    return kDone;
  }
  fmt::print("fovea {} (compiled by {})\n\nsettings\n", FOVEA_VERSION_STRING, __VERSION__);
  for (const SettingRow& row : rows) {
    fmt::print("  {:<14} {:<34} {}\n", row.name, row.value.empty() ? "-" : row.value, row.from);
  }
  return kDone;
}

}  // namespace

void add_info(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("info", "Settings of this machine, with where each came from");
  add_json_flag(*command, invocation);
  command->footer("Examples:\n  fovea info\n  fovea info --json | jq .settings");
  command->callback([&invocation] { invocation.action = [&invocation] { return run_info(invocation.json); }; });
}

}  // namespace fovea::cli
