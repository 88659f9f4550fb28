// SPDX-License-Identifier: Apache-2.0
// fovea explain matmul: the plan of a product, and why the other kernels refused. No data is needed.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/matmul/commands.h"
#include "cli/matmul/options.h"

namespace fovea::cli {
namespace {

struct ExplainOptions {
  MatmulCommandOptions call;
  std::string architecture;
};

int run_explain(const ExplainOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call.machine));
  for (const MatmulShape& shape : resolve_shapes(options.call, {{1, 4096, 4096, 4096}})) {
    const MatmulCallShape call = resolve_matmul(options.call, shape);
    std::string text = matmul_explain(runtime, call.tensors, call.options, json, options.architecture);
    if (text.empty() || text.back() != '\n') text += '\n';
    fmt::print("{}", text);
  }
  return kDone;
}

}  // namespace

void add_matmul_explain(CLI::App& parent, Invocation& invocation) {
  CLI::App* command = parent.add_subcommand("matmul", "The plan of a matrix product");
  auto options = std::make_shared<ExplainOptions>();
  add_matmul_options(*command, options->call);
  command->add_option("--arch", options->architecture, "Plan for this GPU, there or not: sm_80, sm_89, sm_90a ...")
      ->group("How")
      ->type_name("NAME");
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea explain matmul --shape 16x4096x4096 --transpose-b\n"
      "  fovea explain matmul --shape 4096x4096x4096 --arch sm_90a --json");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return run_explain(*options, invocation.json); };
  });
}

}  // namespace fovea::cli
