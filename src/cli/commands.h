// SPDX-License-Identifier: Apache-2.0
// The commands of `fovea`, one function each: it adds a CLI11 subcommand whose callback puts the command's work into
// Invocation::action. main runs the action after parsing, so errors of usage and errors of work meet in one place.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace fovea::cli {

/// What a command ends with.
enum ExitCode : int { kDone = 0, kFoundProblem = 1, kWrongUsage = 2 };

struct Invocation {
  /// Set by add_json_flag. Output is then one JSON document on stdout, errors included.
  bool json = false;
  /// Set by an action that reads files, once its options are understood: what is invalid from then on is a problem of
  /// the data (exit code 1), not wrong usage.
  bool options_are_sound = false;
  /// The chosen command's work; returns an ExitCode.
  std::function<int()> action;
};

/// --json on a command that inspects or measures something.
void add_json_flag(CLI::App& command, Invocation& invocation);

void add_bench(CLI::App& app, Invocation& invocation);
void add_demo(CLI::App& app, Invocation& invocation);
void add_info(CLI::App& app, Invocation& invocation);
void add_explain(CLI::App& app, Invocation& invocation);
void add_verify(CLI::App& app, Invocation& invocation);
void add_run(CLI::App& app, Invocation& invocation);
void add_cache(CLI::App& app, Invocation& invocation);
void add_prebuild(CLI::App& app, Invocation& invocation);

}  // namespace fovea::cli
