// SPDX-License-Identifier: Apache-2.0
// fovea explain attention: the plan of a call, and why the other kernels refused. No data is needed.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/matmul/commands.h"
#include "cli/problem_options.h"

namespace fovea::cli {
namespace {

constexpr int kDefaultSeqlen = 4096;

struct ExplainOptions {
  CallOptions call;
  ShapeOptions shape;
  std::string architecture;
};

int run_explain(const ExplainOptions& options, bool json) {
  AttentionOptions call = resolve_call(options.call);
  const CallShape shape = resolve_shape(options.shape, kDefaultSeqlen);
  fill_in_lengths(shape, call);
  const AttentionTensors tensors = tensors_without_data(shape, call.layout);
  Runtime runtime(runtime_options(options.call));
  std::string text = attention_explain(runtime, tensors, call, json, options.architecture);
  if (text.empty() || text.back() != '\n') text += '\n';
  fmt::print("{}", text);
  return kDone;
}

}  // namespace

void add_explain(CLI::App& app, Invocation& invocation) {
  CLI::App* explain = app.add_subcommand("explain", "The plan of a call, and why other kernels refused it");
  explain->require_subcommand(1);
  CLI::App* command = explain->add_subcommand("attention", "The plan of a call of attention");
  auto options = std::make_shared<ExplainOptions>();
  add_shape_options(*command, options->shape);
  add_call_options(*command, options->call);
  command->add_option("--arch", options->architecture, "Plan for this GPU, there or not: sm_80, sm_89, sm_90a ...")
      ->group("How")
      ->type_name("NAME");
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea explain attention --seqlen 4096 --heads 32/8 --causal\n"
      "  fovea explain attention --seqlen-q 1 --seqlen-k 16384 --dtype fp16 --json\n"
      "  fovea explain attention --arch sm_89 --head-dim 256");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return run_explain(*options, invocation.json); };
  });
  add_matmul_explain(*explain, invocation);
}

}  // namespace fovea::cli
