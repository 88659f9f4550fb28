// SPDX-License-Identifier: Apache-2.0
// fovea bench matmul: time, GFLOP/s and the share of what this machine can do, measured in the same process.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/machine_json.h"
#include "cli/files/atomic_file.h"
#include "cli/matmul/commands.h"
#include "cli/matmul/data.h"
#include "cli/matmul/options.h"
#include "cli/summaries.h"
#include "cli/terminal.h"
#include "contract/dtype.h"
#include "cpu/isa.h"
#include "cpu/peak.h"
#include "measure/machine.h"
#include "measure/stopwatch.h"
#include "problem/describe_matmul.h"

namespace fovea::cli {
namespace {

struct BenchOptions {
  MatmulCommandOptions call;
  bool has_dtype = false;
  bool quick = false;
  std::string output;
};

struct Row {
  std::string problem, kernel, detail, peak_of;
  MatmulShape shape;
  DType dtype = DType::kF32;
  Statistics seconds, fraction;
  double flops = 0, peak = 0;
};

/// Squares, sizes that are a multiple of nothing, few rows and short sums.
std::vector<MatmulShape> default_shapes(bool quick) {
  if (quick) return {{1, 256, 256, 256}, {1, 1000, 1000, 1000}, {1, 64, 2048, 2048}};
  std::vector<MatmulShape> shapes;
  for (const int size : {64, 128, 256, 512, 1024, 2048, 4096}) shapes.push_back({1, size, size, size});
  for (const MatmulShape& s : {MatmulShape{1, 257, 255, 259},
                               {1, 1000, 1000, 1000},
                               {1, 1023, 1025, 1021},
                               {1, 64, 4096, 4096},
                               {1, 16, 4096, 4096},
                               {1, 1, 4096, 4096},
                               {1, 4096, 64, 4096},
                               {1, 2048, 2048, 64},
                               {16, 512, 512, 64}}) {
    shapes.push_back(s);
  }
  return shapes;
}

Row measure(Runtime& runtime, cpu::ThreadPool& pool, const std::string& isa, const MatmulCommandOptions& options,
            const MatmulShape& shape, const Repetitions& repetitions) {
  const MatmulCallShape call = resolve_matmul(options, shape);
  const MatmulMemory memory(call, options.seed);
  const MatmulProblem problem = describe_matmul(memory.tensors(), call.options).problem;
  const auto plan = nlohmann::json::parse(matmul_explain(runtime, memory.tensors(), call.options, /*json=*/true));
  const cpu::FlopLoop& loop = cpu::flop_loop(cpu::unit_named(isa).matmul_kernels(call.dtype).isa, call.dtype);
  Row row;
  row.problem = to_string(problem);
  row.kernel = plan.at("kernel");
  row.detail = plan.at("detail");
  row.peak_of = loop.instruction;
  row.shape = shape;
  row.dtype = call.dtype;
  row.flops = matmul_flops(problem);
  const PairedMeasurement measured =
      time_calls_beside_peak([&] { matmul(runtime, memory.tensors(), call.options); }, row.flops,
                             [&] { return cpu::measure_flops(pool, loop); }, repetitions);
  row.seconds = summarize(measured.seconds);
  row.fraction = summarize(measured.fractions);
  row.peak = summarize(measured.peaks).median;
  return row;
}

void print_row(const Row& row) {
  const double rate = row.seconds.median > 0 ? row.flops / row.seconds.median / 1e9 : 0.0;
  fmt::print("{:<42} {:>8} {:>8} {:>12} {:>6.1f}\n", row.problem.substr(std::string_view("matmul ").size()),
             seconds_text(row.seconds.median), seconds_text(row.seconds.minimum), fmt::format("{:.1f} GFLOP/s", rate),
             100 * row.fraction.median);
  std::fflush(stdout);
}

nlohmann::ordered_json json_of(const Row& row) {
  const double rate = row.seconds.median > 0 ? row.flops / row.seconds.median : 0.0;
  return {{"problem", row.problem},
          {"dtype", name_of(row.dtype)},
          {"batch", row.shape.batch},
          {"m", row.shape.m},
          {"n", row.shape.n},
          {"k", row.shape.k},
          {"kernel", row.kernel},
          {"detail", row.detail},
          {"seconds",
           {{"median", row.seconds.median},
            {"minimum", row.seconds.minimum},
            {"quartile_low", row.seconds.quartile_low},
            {"quartile_high", row.seconds.quartile_high},
            {"count", row.seconds.count}}},
          {"flops", row.flops},
          {"gflops", rate / 1e9},
          {"peak", {{"of", row.peak_of}, {"gflops", row.peak / 1e9}}},
          {"percent_of_peak",
           {{"median", 100 * row.fraction.median},
            {"quartile_low", 100 * row.fraction.quartile_low},
            {"quartile_high", 100 * row.fraction.quartile_high}}}};
}

int run_bench(const BenchOptions& options, bool json) {
  const std::vector<MatmulShape> shapes = resolve_shapes(options.call, default_shapes(options.quick));
  std::vector<std::string> dtypes = {"fp32", "bf16", "fp16"};
  if (options.has_dtype || !options.call.shapes.empty()) dtypes = {options.call.dtype};
  std::optional<AtomicFile> output;  // opened first: a folder that is not there is known before the work
  if (!options.output.empty()) output.emplace(options.output);
  Runtime runtime(runtime_options(options.call.machine));
  const MachineSummary summary = machine_summary(runtime);
  cpu::ThreadPool pool(summary.num_threads);
  const std::string isa = chosen_isa(options.call.machine.isa);
  // Reading the peak takes milliseconds, so that repetitions of short calls must not be shorter.
  Repetitions repetitions = {.least = 9, .least_seconds = 0.2, .call_seconds = 5e-3};
  if (options.quick) repetitions = {.least = 3, .least_seconds = 0.05, .most_seconds = 3.0, .call_seconds = 5e-3};
  const Machine machine = describe_machine(summary.num_threads, isa);
  if (!json) print_bench_header(terminal_of(stdout), machine);
  Progress progress("bench", static_cast<int>(shapes.size() * dtypes.size()));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::string& dtype : dtypes) {
    for (const MatmulShape& shape : shapes) {
      progress.show(static_cast<int>(rows.size()) + 1, dtype + " " + to_string(shape));
      MatmulCommandOptions call = options.call;
      call.dtype = dtype;
      const Row row = measure(runtime, pool, isa, call, shape, repetitions);
      rows.push_back(json_of(row));
      progress.finish();
      if (!json) print_row(row);
    }
  }
  const nlohmann::ordered_json document = {{"machine", machine_json(machine, summary.info_json)}, {"rows", rows}};
  const std::string text = document.dump(2) + "\n";
  if (json) fmt::print("{}", text);
  if (output) {
    output->write(text.data(), text.size());
    output->commit();
  }
  return kDone;
}

}  // namespace

void add_matmul_bench(CLI::App& parent, Invocation& invocation) {
  CLI::App* command = parent.add_subcommand("matmul", "A table of matrix products, or those described");
  auto options = std::make_shared<BenchOptions>();
  add_matmul_options(*command, options->call);
  command->add_flag("--quick", options->quick, "A small table with few repetitions");
  command->add_option("--output", options->output, "Also write the JSON document to this file")->type_name("FILE");
  add_json_flag(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea bench matmul --quick\n"
      "  fovea bench matmul --dtype fp32 --threads 1           the table's rows of one dtype\n"
      "  fovea bench matmul --shapes 512x512x512,64x4096x4096 --transpose-b");
  command->callback([command, options, &invocation] {
    options->has_dtype = command->count("--dtype") > 0;
    invocation.action = [options, &invocation] { return run_bench(*options, invocation.json); };
  });
}

}  // namespace fovea::cli
