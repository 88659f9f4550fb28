// SPDX-License-Identifier: Apache-2.0
// fovea info: this machine as Fovea sees it.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/problem_options.h"

namespace fovea::cli {

void add_info(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("info", "Processor, caches, instruction sets, threads, settings, GPUs");
  auto options = std::make_shared<CallOptions>();
  add_machine_options(*command, *options);
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea info\n"
      "  fovea info --json | jq .settings");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] {
      Runtime runtime(runtime_options(*options));
      fmt::print("{}", runtime.info(invocation.json));
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace fovea::cli
