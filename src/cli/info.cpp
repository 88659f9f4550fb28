// SPDX-License-Identifier: Apache-2.0
// fovea info: this machine as Fovea sees it.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "fovea/runtime.h"

namespace fovea::cli {
namespace {

int run_info(bool json) {
  fmt::print("{}", default_runtime().info(json));
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
