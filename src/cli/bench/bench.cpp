// SPDX-License-Identifier: Apache-2.0
// fovea bench attention: time, GFLOP/s and the share of what this machine can do, measured in the same process.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/cases.h"
#include "cli/bench/machine_json.h"
#include "cli/bench/measure_case.h"
#include "cli/commands.h"
#include "cli/files/atomic_file.h"
#include "cli/matmul/commands.h"
#include "cli/problem_options.h"
#include "cli/terminal.h"
#include "contract/dtype.h"
#include "measure/machine.h"

namespace fovea::cli {
namespace {

constexpr int kDefaultSeqlen = 4096;

struct BenchOptions {
  CallOptions call;
  ShapeOptions shape;
  bool has_problem = false;
  bool has_dtype = false;  // only rows of this dtype
  bool quick = false;
  std::string output;
};

std::vector<BenchCase> cases_of(const BenchOptions& options) {
  const AttentionOptions call = resolve_call(options.call);
  if (options.has_problem) return {{resolve_shape(options.shape, kDefaultSeqlen), call}};
  std::vector<BenchCase> cases = default_bench_cases(options.quick);
  if (options.has_dtype) {
    const DType dtype = parse_dtype(options.shape.dtype);
    std::erase_if(cases, [dtype](const BenchCase& c) { return c.shape.dtype != dtype; });
  }
  for (BenchCase& c : cases) {
    c.options.kernel = call.kernel;
    c.options.tile = call.tile;
  }
  return cases;
}

void print_row(const BenchRow& row) {
  std::string problem = row.problem;
  if (problem.starts_with("forward ")) problem.erase(0, std::string_view("forward ").size());
  const double rate = row.seconds.median > 0 ? row.work / row.seconds.median / 1e9 : 0.0;
  const std::string rate_text =
      row.is_bandwidth ? fmt::format("{:.1f} GB/s", rate) : fmt::format("{:.0f} GFLOP/s", rate);
  fmt::print("{:<42} {:>8} {:>8} {:>12} {:>6.1f}{}\n", problem, seconds_text(row.seconds.median),
             seconds_text(row.seconds.minimum), rate_text, 100 * row.fraction.median,
             row.cpu_share < kBusyMachine ? "?" : "");
  std::fflush(stdout);
}

/// Said once, on stderr, if the process did not get the processors that it measures.
void warn_if_busy(const std::vector<BenchRow>& rows) {
  double least = 1;
  for (const BenchRow& row : rows) least = std::min(least, row.cpu_share);
  if (least >= kBusyMachine) return;
  fmt::print(
      stderr,
      "fovea: the machine is busy: a row got {:.0f} % of the processor time of its threads; rows with ? look slower "
      "than they are\n",
      100 * least);
}

/// Each peak that rows were compared with, once.
void print_footer(const std::vector<BenchRow>& rows) {
  std::vector<std::string> seen;
  fmt::print(
      "\nGFLOP/s: of visible scores only. GB/s: bytes of k and v. Peaks, as read for the\n"
      "first row that is compared with each:\n");
  for (const BenchRow& row : rows) {
    const std::string what = row.is_bandwidth ? fmt::format("memory reads of {}", bytes_text(row.work)) : row.peak_of;
    if (std::find(seen.begin(), seen.end(), what) != seen.end()) continue;
    seen.push_back(what);
    fmt::print("  {:<34} {:>9.1f} {}\n", what, row.peak / 1e9, row.is_bandwidth ? "GB/s" : "GFLOP/s");
  }
}

int run_bench(const BenchOptions& options, bool json) {
  const std::vector<BenchCase> cases = cases_of(options);
  std::optional<AtomicFile> output;  // opened first: a folder that is not there is known before the work
  if (!options.output.empty()) output.emplace(options.output);
  Runtime runtime(runtime_options(options.call));
  const MachineSummary summary = machine_summary(runtime);
  cpu::ThreadPool pool(summary.num_threads);
  BenchSetting setting{runtime, pool, chosen_isa(options.call.isa), {}};
  if (options.quick) setting.repetitions = {.least = 3, .least_seconds = 0.1, .most_seconds = 3.0};
  const Machine machine = describe_machine(summary.num_threads, setting.isa);
  if (!json) print_bench_header(terminal_of(stdout), machine);

  Progress progress("bench", static_cast<int>(cases.size()));
  std::vector<BenchRow> rows;
  nlohmann::ordered_json json_rows = nlohmann::ordered_json::array();
  for (const BenchCase& c : cases) {
    progress.show(static_cast<int>(rows.size()) + 1,
                  fmt::format("{} {} x {}", name_of(c.shape.dtype), c.shape.seqlen_q, c.shape.seqlen_k));
    rows.push_back(measure_case(setting, c, options.shape.seed));
    json_rows.push_back(json_of(rows.back()));
    progress.finish();
    if (!json) print_row(rows.back());
  }
  if (!json) print_footer(rows);
  warn_if_busy(rows);
  const nlohmann::ordered_json document = {{"machine", machine_json(machine, summary.info_json)}, {"rows", json_rows}};
  const std::string text = document.dump(2) + "\n";
  if (json) fmt::print("{}", text);
  if (output) {
    output->write(text.data(), text.size());
    output->commit();
  }
  return kDone;
}

}  // namespace

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* bench = app.add_subcommand("bench", "Speed, as a share of what this machine can do");
  bench->require_subcommand(1);
  CLI::App* command =
      bench->add_subcommand("attention", "A table of attention calls, or the one described, timed beside the peak");
  auto options = std::make_shared<BenchOptions>();
  add_shape_options(*command, options->shape);
  add_call_options(*command, options->call);
  command->add_flag("--quick", options->quick, "A small table with few repetitions");
  command->add_option("--output", options->output, "Also write the JSON document to this file")->type_name("FILE");
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea bench attention --quick\n"
      "  fovea bench attention --dtype bf16 --threads 1        the table's rows of one dtype\n"
      "  fovea bench attention --seqlen 4096 --heads 32/8 --causal\n"
      "  fovea bench attention --output bench/results/here.json");
  command->callback([command, options, &invocation] {
    options->has_dtype = command->count("--dtype") > 0;
    options->has_problem = describes_a_problem(*command, /*dtype_counts=*/false);
    invocation.action = [options, &invocation] { return run_bench(*options, invocation.json); };
  });
  add_matmul_bench(*bench, invocation);
}

}  // namespace fovea::cli
