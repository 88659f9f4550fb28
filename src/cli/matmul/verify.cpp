// SPDX-License-Identifier: Apache-2.0
// fovea verify matmul: ours and the plain method in the same precision, both against float64, judged by the tolerance
// rule (verify/tolerance.h).
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

#include "cli/comparison_json.h"
#include "cli/matmul/commands.h"
#include "cli/matmul/data.h"
#include "cli/matmul/options.h"
#include "cli/terminal.h"
#include "contract/dtype.h"
#include "problem/describe_matmul.h"
#include "verify/matmul.h"

namespace fovea::cli {
namespace {

struct VerifyOptions {
  MatmulCommandOptions call;
  bool has_dtype = false;
  std::int64_t rows = 64;
};

/// Sizes of 0, 1 and primes, long sums, a batch, few rows and few columns, each in every dtype and order.
std::vector<MatmulCommandOptions> default_cases(const MatmulCommandOptions& given, bool has_dtype) {
  std::vector<MatmulCommandOptions> cases;
  for (const char* dtype : {"fp32", "fp16", "bf16", "e4m3"}) {
    if (has_dtype && given.dtype != dtype) continue;
    MatmulCommandOptions c = given;
    c.dtype = dtype;
    for (const char* shape :
         {"512x512x512", "127x131x113", "1x1024x777", "64x64x5003", "5x33x65x257", "0x7x5", "6x5x0"}) {
      c.shapes = {shape};
      cases.push_back(c);
    }
    if (c.dtype == "e4m3") {
      c.transpose_b = true;
      c.shapes = {"130x300x517"};
      for (const char* scale : {"tensor", "block"}) {
        c.scale = scale;
        cases.push_back(c);
      }
    }
    c.shapes = {"127x131x113"};
    for (const bool transposes_a : {false, true}) {
      c.transpose_a = transposes_a;
      c.transpose_b = true;
      cases.push_back(c);
    }
    c.transpose_a = c.transpose_b = false;
    c.bias = true;
    c.beta = 0.5f;
    for (const char* activation : {"relu", "gelu", "silu"}) {
      c.activation = activation;
      cases.push_back(c);
    }
  }
  return cases;
}

struct VerifyResult {
  std::string problem;
  MatmulReport report;
};

VerifyResult run_case(Runtime& runtime, const MatmulCommandOptions& options, std::int64_t rows) {
  const MatmulCallShape call = resolve_matmul(options, parse_matmul_shape(options.shapes.front()));
  const MatmulMemory memory(call, options.seed);
  const MatmulCall described = describe_matmul(memory.tensors(), call.options);
  const ExpectedMatmul expected = expect_matmul(described.args, described.problem, rows);  // before d is written
  matmul(runtime, memory.tensors(), call.options);
  return {to_string(described.problem), verify_matmul(described.args, expected)};
}

std::string ratio_text(double ours, double plain) {
  if (plain > 0) return fmt::format("{:.2f}", ours / plain);
  return ours > 0 ? "inf" : "-";
}

void print_row(const Terminal& terminal, const VerifyResult& result) {
  const Comparison& d = result.report.d;
  const bool passed = result.report.passed;
  fmt::print("{:<54} {:>7.1e} {:>5} {:>5}  {}\n", result.problem, d.max_error(),
             ratio_text(d.max_error(), d.plain_max_error()), ratio_text(d.rms_error(), d.plain_rms_error()),
             passed ? terminal.paint(Color::kGreen, "ok") : terminal.paint(Color::kRed, "FAIL"));
  if (!passed) fmt::print("{}", to_string(result.report));
  std::fflush(stdout);
}

int run_verify(const VerifyOptions& options, bool json) {
  std::vector<MatmulCommandOptions> cases;
  if (options.call.shapes.empty()) cases = default_cases(options.call, options.has_dtype);
  for (const std::string& shape : options.call.shapes) {
    cases.push_back(options.call);
    cases.back().shapes = {shape};
  }
  const Terminal terminal = terminal_of(stdout);
  Runtime runtime(runtime_options(options.call.machine));
  Progress progress("verify", static_cast<int>(cases.size()));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  int done = 0, failed = 0;
  if (!json) {
    fmt::print("{}\n", terminal.paint(Color::kBold,
                                      fmt::format("{:<54} {:>7} {:>5} {:>5}", "problem", "max err", "x max", "x RMS")));
  }
  for (const MatmulCommandOptions& c : cases) {
    progress.show(++done, c.shapes.front());
    const VerifyResult result = run_case(runtime, c, options.rows);
    progress.finish();
    failed += result.report.passed ? 0 : 1;
    if (json) {
      rows.push_back({{"problem", result.problem},
                      {"rows_checked", result.report.rows_checked},
                      {"passed", result.report.passed},
                      {"d", comparison_json(result.report.d, result.report.limit)}});
    } else {
      print_row(terminal, result);
    }
  }
  if (json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"passed", failed == 0}, {"failed", failed}, {"cases", rows}}.dump(2));
  } else {
    fmt::print(
        "\n{} of {} cases pass. x: error of fovea / error of the plain method, each against\n"
        "float64; at most 2 (max) and 1.1 (RMS), plus the rounding of the format itself.\n",
        done - failed, done);
  }
  return failed == 0 ? kDone : kFoundProblem;
}

}  // namespace

void add_matmul_verify(CLI::App& parent, Invocation& invocation) {
  CLI::App* command =
      parent.add_subcommand("matmul", "The matrix product: a table of cases, or the products described");
  auto options = std::make_shared<VerifyOptions>();
  add_matmul_options(*command, options->call);
  command->add_option("--rows", options->rows, "Rows to check, spread evenly; 0 checks all")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea verify matmul                                the table of default cases\n"
      "  fovea verify matmul --shape 1023x1025x1021 --dtype fp16 --activation gelu\n"
      "Exits with 1 when a case fails.");
  command->callback([command, options, &invocation] {
    options->has_dtype = command->count("--dtype") > 0;
    invocation.action = [options, &invocation] { return run_verify(*options, invocation.json); };
  });
}

}  // namespace fovea::cli
