// SPDX-License-Identifier: Apache-2.0
// fovea demo: one attention layer shaped like Llama 3 8B's, computed, checked, timed beside the plain method, and
// drawn.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/demo/inputs.h"
#include "cli/demo/memory.h"
#include "cli/demo/sections.h"
#include "cli/demo/timing.h"
#include "cli/problem_options.h"
#include "cli/random_inputs.h"
#include "cli/terminal.h"
#include "contract/dtype.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "verify/attention.h"

namespace fovea::cli {
namespace {

constexpr int kLlamaSeqlen = 4096;
constexpr std::int64_t kCheckedScores = 400LL * kLlamaSeqlen;  // rows x keys that take about two seconds
constexpr double kPlainBudgetSeconds = 2.5;

struct DemoOptions {
  CallOptions call{.causal = true};
  ShapeOptions shape{.heads = "32/8"};
  bool full = false;
  bool ascii = false;
};

struct DemoRun {
  DemoScene scene;
  AttentionReport report;
  DemoTimings timings;
};

std::int64_t rows_to_check(const CallShape& shape) {
  return std::max<std::int64_t>(2 * shape.num_heads_q, kCheckedScores / std::max(1, shape.seqlen_k));
}

DemoTimings measure(Runtime& runtime, const CallData& data, const AttentionOptions& call, const DemoScene& scene) {
  DemoTimings timings;
  timings.ours = time_call(runtime, data.tensors(), call);
  timings.plain = time_plain(scene.args, scene.shape.dtype, scene.machine.num_threads, kPlainBudgetSeconds);
  if (scene.args.mask.kind != MaskKind::kNone) {
    AttentionOptions unmasked = call;
    unmasked.causal = false;
    unmasked.window_left = unmasked.window_right = std::nullopt;
    timings.unmasked_flops = plan_summary(runtime, data.tensors(), unmasked).flops;
    timings.ours_unmasked = time_call(runtime, data.tensors(), unmasked);
  }
  return timings;
}

nlohmann::ordered_json json_of(const DemoRun& run) {
  const DemoScene& s = run.scene;
  const DemoTimings& t = run.timings;
  nlohmann::ordered_json j;
  j["machine"] = nlohmann::ordered_json::parse(s.machine.info_json);
  j["problem"] = {{"seqlen", s.shape.seqlen_q},           {"num_heads_q", s.shape.num_heads_q},
                  {"num_heads_kv", s.shape.num_heads_kv}, {"head_dim", s.shape.head_dim_qk},
                  {"dtype", name_of(s.shape.dtype)},      {"mask", mask_text(s.args.mask)}};
  j["kernel"] = {{"name", s.plan.kernel}, {"detail", s.plan.detail}};
  j["tiles"] = {{"block_q", s.plan.block_q},
                {"block_k", s.plan.block_k},
                {"full", s.plan.tiles_full},
                {"edge", s.plan.tiles_edge},
                {"skipped", s.plan.tiles_skipped}};
  j["check"] = {{"passed", run.report.passed},           {"rows_checked", run.report.rows_checked},
                {"max_error", run.report.o.max_error()}, {"plain_max_error", run.report.o.plain_max_error()},
                {"rms_error", run.report.o.rms_error()}, {"plain_rms_error", run.report.o.plain_rms_error()}};
  j["fovea"] = {{"seconds", t.ours.seconds}, {"runs", t.ours.runs}, {"gflops", s.plan.flops / t.ours.seconds / 1e9}};
  if (t.ours_memory_bytes) j["fovea"]["extra_memory_bytes"] = *t.ours_memory_bytes;
  if (t.ours_unmasked) j["fovea_unmasked"] = {{"seconds", t.ours_unmasked->seconds}};
  if (t.plain.ran) {
    j["plain"] = {{"seconds", t.plain.seconds},
                  {"heads_run", t.plain.heads_run},
                  {"scores_bytes", t.plain.scores_bytes},
                  {"max_difference", t.plain.max_difference}};
  }
  return j;
}

int run_demo(const DemoOptions& options, bool json) {
  CallOptions call_options = options.call;
  if (options.full) call_options.causal = false;
  const AttentionOptions call = resolve_call(call_options);
  const CallShape shape = resolve_shape(options.shape, kLlamaSeqlen);
  check(shape.head_dim_qk % 2 == 0, ErrorCode::kInvalidArgument, "--head-dim",
        "--head-dim is {}, must be even here: rotary positions turn pairs", shape.head_dim_qk);
  check(shape.seqlen_q > 0, ErrorCode::kInvalidArgument, "--seqlen", "--seqlen is 0, must be at least 1 here");
  const AttentionProblem problem = describe_attention(tensors_without_data(shape, call.layout), call, false);

  Runtime runtime(runtime_options(options.call));
  Terminal terminal = terminal_of(stdout);
  if (options.ascii) terminal.unicode = false;
  Progress progress("demo:");
  CallData data(shape, call.layout);
  fill_like_a_model(data, options.shape.seed);
  DemoRun run{.scene = {terminal, shape, attention_args(data.tensors(), call.layout, problem),
                        plan_summary(runtime, data.tensors(), call), machine_summary(runtime)}};
  const auto tell = [&](auto&& print) {
    progress.finish();
    if (!json) print();
    std::fflush(stdout);
  };
  tell([&] { print_title(run.scene); });
  tell([&] { print_mask_section(run.scene); });
  tell([&] { print_weights_section(run.scene); });

  progress.show(0, "computing");
  const PeakMemory memory;
  attention_forward(runtime, data.tensors(), call);
  const std::optional<std::int64_t> memory_bytes = memory.growth_bytes();
  progress.show(0, "checking against float64");
  run.report = verify_attention(run.scene.args, shape.dtype, {rows_to_check(shape)});
  tell([&] { print_check_section(run.scene, run.report); });

  progress.show(0, "timing, beside the plain method");
  run.timings = measure(runtime, data, call, run.scene);
  run.timings.ours_memory_bytes = memory_bytes;
  tell([&] { print_timing_section(run.scene, run.timings); });
  tell([&] { print_next_section(run.scene); });
  if (json) fmt::print("{}\n", json_of(run).dump(2));
  return run.report.passed ? kDone : kFoundProblem;
}

}  // namespace

void add_demo(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("demo", "One attention layer of a model: drawn, checked and timed");
  auto options = std::make_shared<DemoOptions>();
  command->add_option("--seqlen", options->shape.seqlen, "Tokens; default 4096")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  command->add_option("--window", options->call.window, "Keys that a token sees behind itself; or L,R")->type_name("N");
  command->add_flag("--full", options->full, "No causal mask: every token sees every token");
  command->add_option("--dtype", options->shape.dtype, "fp32, fp16 or bf16")->type_name("NAME")->capture_default_str();
  command->add_option("--heads", options->shape.heads, "Query heads/kv heads")->type_name("N/N")->capture_default_str();
  command->add_option("--head-dim", options->shape.head_dim, "Of q, k and v")->type_name("N")->capture_default_str();
  command->add_flag("--ascii", options->ascii, "No characters beyond ASCII, whatever the locale says");
  add_machine_options(*command, options->call);
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea demo\n"
      "  fovea demo --window 512 --seqlen 8192\n"
      "  fovea demo --dtype fp32 --threads 1\n"
      "The check fails: exit code 1. NO_COLOR turns colours off.");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return run_demo(*options, invocation.json); };
  });
}

}  // namespace fovea::cli
