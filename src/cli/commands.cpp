// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <CLI/CLI.hpp>

namespace fovea::cli {

void add_json_flag(CLI::App& command, Invocation& invocation) {
  command.add_flag("--json", invocation.json, "One JSON document on stdout instead of text");
}

}  // namespace fovea::cli
