// SPDX-License-Identifier: Apache-2.0
// fovea verify attention: ours and the plain method in the same precision, both against float64, on random and on
// deliberately hard inputs, judged by the tolerance rule (verify/tolerance.h).
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/comparison_json.h"
#include "cli/matmul/commands.h"
#include "cli/problem_options.h"
#include "cli/random_inputs.h"
#include "cli/terminal.h"
#include "cli/verify_cases.h"
#include "contract/dtype.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "verify/attention.h"

namespace fovea::cli {
namespace {

constexpr int kDefaultSeqlen = 1024;

struct VerifyOptions {
  CallOptions call;
  ShapeOptions shape;
  bool has_problem = false;
  std::string inputs = "all";
  std::int64_t rows = 512;
};

struct VerifyResult {
  std::string problem;
  AttentionReport report;
};

std::vector<VerifyCase> cases_of(const VerifyOptions& options) {
  std::vector<VerifyCase> cases;
  AttentionOptions call = resolve_call(options.call);
  if (!options.has_problem) {
    cases = default_verify_cases();
    for (VerifyCase& c : cases) {
      fill_in_lengths(c.shape, c.options);
      c.options.kernel = call.kernel;
      c.options.tile = call.tile;
    }
    return cases;
  }
  const CallShape shape = resolve_shape(options.shape, kDefaultSeqlen);
  fill_in_lengths(shape, call);
  for (InputKind kind : kAllInputKinds) cases.push_back({name_of(kind), shape, call, kind});
  return cases;
}

bool is_wanted(const VerifyCase& c, const std::string& inputs) {
  if (inputs == "all") return true;
  return std::string_view(name_of(c.inputs)).starts_with(inputs);
}

VerifyResult run_case(Runtime& runtime, const VerifyCase& c, std::uint64_t seed, std::int64_t rows) {
  const AttentionProblem problem =
      describe_attention(tensors_without_data(c.shape, c.options.layout), c.options, /*require_data=*/false);
  CallData data(c.shape, c.options.layout);
  data.fill(c.inputs, seed);
  attention_forward(runtime, data.tensors(), c.options);
  const AttentionArgs args = attention_args(data.tensors(), c.options.layout, problem);
  return {to_string(problem), verify_attention(args, c.shape.dtype, {rows})};
}

std::string ratio_text(double ours, double plain) {
  if (plain > 0) return fmt::format("{:.2f}", ours / plain);
  return ours > 0 ? "inf" : "-";
}

/// The problem's line without what is the same in every row, and the inputs where they are not normal.
std::string row_name(const VerifyCase& c, const VerifyResult& result) {
  std::string name = result.problem;
  for (const std::string_view word : {"forward ", " lse"}) {
    if (const auto at = name.find(word); at != std::string::npos) name.erase(at, word.size());
  }
  if (c.inputs != InputKind::kNormal) name += fmt::format(" {}", name_of(c.inputs));
  return name;
}

void print_header(const Terminal& terminal) {
  fmt::print("{}\n", terminal.paint(Color::kBold,
                                    fmt::format("{:<54} {:>7} {:>5} {:>5}", "problem", "max err", "x max", "x RMS")));
}

void print_row(const Terminal& terminal, const VerifyCase& c, const VerifyResult& result) {
  const Comparison& o = result.report.o;
  const bool passed = result.report.passed;
  fmt::print("{:<54} {:>7.1e} {:>5} {:>5}  {}\n", row_name(c, result), o.max_error(),
             ratio_text(o.max_error(), o.plain_max_error()), ratio_text(o.rms_error(), o.plain_rms_error()),
             passed ? terminal.paint(Color::kGreen, "ok") : terminal.paint(Color::kRed, "FAIL"));
  if (!passed) fmt::print("{}", to_string(result.report));
  std::fflush(stdout);
}

nlohmann::ordered_json json_of(const VerifyCase& c, const VerifyResult& result) {
  nlohmann::ordered_json row = {
      {"inputs", name_of(c.inputs)},    {"dtype", name_of(c.shape.dtype)},
      {"problem", result.problem},      {"rows_checked", result.report.rows_checked},
      {"passed", result.report.passed}, {"o", comparison_json(result.report.o, result.report.o_limit)}};
  if (c.shape.wants_lse) row["lse"] = comparison_json(result.report.lse, result.report.lse_limit);
  return row;
}

int run_verify(const VerifyOptions& options, bool json) {
  check(options.inputs == "all" || is_input_kind(options.inputs), ErrorCode::kInvalidArgument, "--inputs",
        "--inputs is '{}', must be all, normal, large, equal or rising", options.inputs);
  const std::vector<VerifyCase> cases = cases_of(options);
  const Terminal terminal = terminal_of(stdout);
  Runtime runtime(runtime_options(options.call));
  Progress progress("verify", static_cast<int>(cases.size()));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  int done = 0, checked = 0, failed = 0;
  if (!json) print_header(terminal);
  for (const VerifyCase& c : cases) {
    ++done;
    if (!is_wanted(c, options.inputs)) continue;
    progress.show(done, c.name);
    const VerifyResult result = run_case(runtime, c, options.shape.seed, options.rows);
    ++checked;
    failed += result.report.passed ? 0 : 1;
    if (json) {
      rows.push_back(json_of(c, result));
    } else {
      progress.finish();
      print_row(terminal, c, result);
    }
  }
  progress.finish();
  if (json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"passed", failed == 0}, {"failed", failed}, {"cases", rows}}.dump(2));
  } else {
    fmt::print(
        "\n{} of {} cases pass. x: error of fovea / error of the plain method, each against\n"
        "float64; at most 2 (max) and 1.1 (RMS), plus the rounding of the format itself.\n",
        checked - failed, checked);
  }
  return failed == 0 ? kDone : kFoundProblem;
}

}  // namespace

void add_verify(CLI::App& app, Invocation& invocation) {
  CLI::App* verify = app.add_subcommand("verify", "Check results against float64 by the tolerance rule");
  verify->require_subcommand(1);
  CLI::App* command = verify->add_subcommand(
      "attention", "Ours and the plain method against float64: a table of cases, or the problem described");
  auto options = std::make_shared<VerifyOptions>();
  add_shape_options(*command, options->shape);
  add_call_options(*command, options->call);
  command->add_option("--inputs", options->inputs, "all, normal, large, equal or rising")
      ->type_name("KIND")
      ->capture_default_str();
  command->add_option("--rows", options->rows, "Rows to check, spread evenly; 0 checks all")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea verify attention                             the table of default cases\n"
      "  fovea verify attention --isa avx2 --threads 1      the same with AVX2 only\n"
      "  fovea verify attention --seqlen 4096 --heads 32/8 --causal --dtype fp16\n"
      "Exits with 1 when a case fails.");
  command->callback([command, options, &invocation] {
    options->has_problem = describes_a_problem(*command);
    invocation.action = [options, &invocation] { return run_verify(*options, invocation.json); };
  });
  add_matmul_verify(*verify, invocation);
}

}  // namespace fovea::cli
