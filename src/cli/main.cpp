// SPDX-License-Identifier: Apache-2.0
// fovea: the command line. Exit codes: 0 done, 1 found a problem, 2 wrong usage. Results go to stdout, errors as one
// line and progress to stderr; with --json stdout is one JSON document, {"error": {...}} when the command failed.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <clocale>
#include <cstdio>
#include <new>
#include <string>
#include <string_view>

#include "cli/commands.h"
#include "cli/matmul/commands.h"
#include "fovea/error.h"
#include "fovea/version.h"

namespace fovea::cli {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  fovea demo                                          attention drawn, checked, timed\n"
    "  fovea run --q q.npy --k k.npy --v v.npy -o o.npy    attention on files\n"
    "  fovea verify attention                              every mask, against float64\n"
    "  fovea bench attention --quick                       share of this machine's peak\n"
    "  fovea explain attention --seqlen 4096 --causal      the plan of a call\n"
    "  fovea experiment --shape 1024x1024x1024             block sizes of a matrix product\n"
    "\n"
    "Exit codes: 0 done, 1 found a problem, 2 wrong usage. NO_COLOR is respected.\n"
    "`fovea COMMAND --help` has the options and examples of a command.";

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kCompile: return "compile";
    case ErrorCode::kCuda: return "cuda";
    case ErrorCode::kInternal: break;
  }
  return "internal";
}

/// One line on stderr; with json also the document that stdout owes its reader.
int report(bool json, std::string_view code, std::string_view field, std::string_view message, int exit_code) {
  if (json) {
    const nlohmann::json document = {{"error", {{"code", code}, {"field", field}, {"message", message}}}};
    fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  fmt::print(stderr, "fovea: {}\n", message);
  return exit_code;
}

/// A parse error leaves Invocation::json as it was when parsing stopped, so the arguments are asked.
bool asks_for_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") return true;
  }
  return false;
}

/// The command whose --help will help.
std::string innermost_command(const CLI::App& app) {
  for (const CLI::App* chosen : app.get_subcommands()) return app.get_name() + " " + innermost_command(*chosen);
  return app.get_name();
}

/// CLI11 says "A subcommand is required" of a misspelt one.
std::string usage_text(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const bool names_command = argc > 1 && argv[1][0] != '-';
  if (names_command && app.get_subcommands().empty()) return fmt::format("there is no command '{}'", argv[1]);
  if (app.get_subcommands().empty() && argc == 1) return "a command is required";
  return error.what();
}

int run_action(const Invocation& invocation) {
  try {
    return invocation.action();
  } catch (const Error& error) {
    const bool is_usage = error.code() == ErrorCode::kInvalidArgument && !invocation.options_are_sound;
    return report(invocation.json, name_of(error.code()), error.field(), error.what(),
                  is_usage ? kWrongUsage : kFoundProblem);
  } catch (const std::bad_alloc&) {
    return report(invocation.json, "internal", "", "out of memory; take a smaller batch, seqlen or number of heads",
                  kFoundProblem);
  } catch (const std::exception& error) {
    return report(invocation.json, "internal", "", error.what(), kFoundProblem);
  }
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App app{"Exact attention and matrix products on CPUs and GPUs.", "fovea"};
  app.set_version_flag("--version", std::string("fovea ") + FOVEA_VERSION_STRING);
  app.require_subcommand(1);
  app.footer(kFooter);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // as in aliases and scripts
  app.get_formatter()->column_width(34);

  Invocation invocation;
  add_demo(app, invocation);
  add_bench(app, invocation);
  add_info(app, invocation);
  add_explain(app, invocation);
  add_verify(app, invocation);
  add_run(app, invocation);
  add_tune(app, invocation);
  add_experiment(app, invocation);
  add_cache(app, invocation);
  add_prebuild(app, invocation);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    const int code = app.exit(help_or_version);
    if (help_or_version.get_name() != "CallForVersion") fmt::print("\n");  // the footer ends without one
    return code;
  } catch (const CLI::ParseError& error) {
    const std::string message =
        fmt::format("{}; see {} --help", usage_text(app, error, argc, argv), innermost_command(app));
    return report(asks_for_json(argc, argv), "invalid_argument", "", message, kWrongUsage);
  }
  return run_action(invocation);
}

}  // namespace fovea::cli

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");  // tells terminal.h whether the reader's terminal takes UTF-8
  return fovea::cli::run(argc, argv);
}
