// SPDX-License-Identifier: Apache-2.0
// fovea tune matmul: times what the chosen kernel offers and remembers the fastest. fovea experiment: the same for a
// grid of block sizes, as a table and a chart, with what the cost model would have picked.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "cli/matmul/commands.h"
#include "cli/matmul/options.h"
#include "cli/random_inputs.h"
#include "cli/terminal.h"
#include "problem/describe_matmul.h"

namespace fovea::cli {
namespace {

struct SearchOptions {
  MatmulCommandOptions call;
  std::string device = "cpu";
  double seconds = 0.1;
  int random = 0;
};

Device parse_device(const std::string& name) {
  if (name == "cpu") return {};
  int index = 0;
  const bool is_gpu = name == "cuda" || (name.starts_with("cuda:") && name.size() > 5 &&
                                         name.find_first_not_of("0123456789", 5) == std::string::npos);
  check(is_gpu, ErrorCode::kInvalidArgument, "--device", "--device is '{}', must be cpu, cuda or cuda:N", name);
  if (name.size() > 5) index = std::atoi(name.c_str() + 5);
  return {DeviceKind::kCUDA, index};
}

MatmulCallShape resolve_on(const SearchOptions& options, const MatmulShape& shape) {
  MatmulCallShape call = resolve_matmul(options.call, shape);
  const Device device = parse_device(options.device);
  for (TensorView* view : {&call.tensors.a, &call.tensors.b, &call.tensors.c, &call.tensors.bias, &call.tensors.d}) {
    view->device = device;
  }
  call.options.tile = {};
  return call;
}

double gflops(const MatmulCallShape& call, double seconds) {
  const MatmulProblem problem = describe_matmul(call.tensors, call.options, /*require_data=*/false).problem;
  return seconds > 0 ? matmul_flops(problem) / seconds / 1e9 : 0.0;
}

std::string tile_text(const MatmulTile& t) {
  std::string text = fmt::format("{} x {} x {}", t.block_m, t.block_n, t.block_k);
  if (t.stages > 0) text += fmt::format(", {} stages", t.stages);
  if (t.warps > 0) text += fmt::format(", {} warps", t.warps);
  if (t.cluster_m * t.cluster_n > 1) text += fmt::format(", cluster {} x {}", t.cluster_m, t.cluster_n);
  if (t.num_splits > 1) text += fmt::format(", {} splits", t.num_splits);
  if (t.persistent.value_or(false)) text += ", persistent";
  if (t.packs_a.value_or(false)) text += ", a packed";
  if (t.packs_b.value_or(false)) text += ", b packed";
  return text;
}

/// Index of the fastest tile that ran; -1 if none did.
int fastest(const std::vector<MatmulTiming>& timings) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(timings.size()); ++i) {
    const double seconds = timings[static_cast<std::size_t>(i)].seconds;
    if (seconds > 0 && (best < 0 || seconds < timings[static_cast<std::size_t>(best)].seconds)) best = i;
  }
  return best;
}

nlohmann::ordered_json json_of(const MatmulCallShape& call, const MatmulTiming& t) {
  nlohmann::ordered_json j = {{"block_m", t.tile.block_m},
                              {"block_n", t.tile.block_n},
                              {"block_k", t.tile.block_k},
                              {"tile", tile_text(t.tile)}};
  if (t.failure.empty()) {
    j["seconds"] = t.seconds;
    j["gflops"] = gflops(call, t.seconds);
  } else {
    j["refused"] = t.failure;
  }
  return j;
}

/// The first tile is the cost model's; a faster one is worth remembering from this gain on.
constexpr double kWorthRemembering = 1.01;

int run_tune(const SearchOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call.machine));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  const std::vector<MatmulShape> shapes = resolve_shapes(options.call, {});
  check(!shapes.empty(), ErrorCode::kInvalidArgument, "--shapes",
        "--shapes is missing; name the products to tune for, as in --shapes 512x4096x4096");
  Progress progress("tune", static_cast<int>(shapes.size()));
  for (const MatmulShape& shape : shapes) {
    progress.show(static_cast<int>(rows.size()) + 1, to_string(shape));
    const MatmulCallShape call = resolve_on(options, shape);
    const auto timings = matmul_time(runtime, call.tensors, call.options,
                                     matmul_candidates(runtime, call.tensors, call.options), options.seconds);
    progress.finish();
    const int best = fastest(timings);
    check(best >= 0, ErrorCode::kInternal, "tile", "no tile ran for {}: {}", to_string(shape), timings.front().failure);
    const MatmulTiming& winner = timings[static_cast<std::size_t>(best)];
    const double first = timings.front().seconds;
    const bool gains = first <= 0 || first / winner.seconds >= kWorthRemembering;
    const MatmulTile& kept = gains ? winner.tile : timings.front().tile;
    matmul_remember(runtime, call.tensors, call.options, kept);
    rows.push_back({{"shape", to_string(shape)},
                    {"kept", tile_text(kept)},
                    {"gflops", gflops(call, gains ? winner.seconds : first)},
                    {"gain", first > 0 ? first / (gains ? winner.seconds : first) : 0.0}});
    if (json) {
      for (const MatmulTiming& t : timings) rows.back()["tiles"].push_back(json_of(call, t));
      continue;
    }
    fmt::print("{} {}: {:.1f} GFLOP/s with {} ({})\n", options.call.dtype, to_string(shape),
               gflops(call, gains ? winner.seconds : first), tile_text(kept),
               gains ? fmt::format("{:.1f} % faster than the cost model's pick", 100 * (first / winner.seconds - 1))
                     : std::string("the cost model's pick"));
  }
  if (json) fmt::print("{}\n", nlohmann::ordered_json{{"tuned", rows}}.dump(2));
  return kDone;
}

/// The blocks given, or a ladder of powers of two, none much larger than the dimension.
std::vector<int> sizes_of(const std::vector<int>& given, int dimension, const std::vector<int>& ladder) {
  if (!given.empty()) return given;
  std::vector<int> sizes;
  for (const int size : ladder) {
    if (sizes.empty() || size < 2 * dimension) sizes.push_back(size);
  }
  return sizes;
}

std::vector<MatmulTile> grid_of(const SearchOptions& options, const MatmulShape& shape, const MatmulTile& pick) {
  const bool is_gpu = parse_device(options.device).kind == DeviceKind::kCUDA;
  const std::vector<int> ladder = is_gpu ? std::vector{64, 128, 256} : std::vector{64, 256, 1024};
  const std::vector<int> depths = is_gpu ? std::vector{32, 64} : std::vector{128, 256, 512};
  std::vector<MatmulTile> tiles = {pick};
  for (const int m : sizes_of(options.call.block_m, shape.m, ladder)) {
    for (const int n : sizes_of(options.call.block_n, shape.n, ladder)) {
      for (const int k : sizes_of(options.call.block_k, shape.k, depths)) {
        MatmulTile tile;
        tile.block_m = m, tile.block_n = n, tile.block_k = k;
        const MatmulShape& s = shape;
        tile.persistent = resolve_matmul(options.call, s).options.tile.persistent;
        tiles.push_back(tile);
      }
    }
  }
  return tiles;
}

void print_chart(const Terminal& terminal, const MatmulCallShape& call, const std::vector<MatmulTiming>& timings) {
  constexpr int kBar = 40;
  const int best = fastest(timings);
  const double top = best < 0 ? 1.0 : gflops(call, timings[static_cast<std::size_t>(best)].seconds);
  std::vector<const MatmulTiming*> sorted;
  sorted.reserve(timings.size());
  for (const MatmulTiming& t : timings) sorted.push_back(&t);
  std::stable_sort(sorted.begin(), sorted.end(), [](const MatmulTiming* a, const MatmulTiming* b) {
    return a->failure.empty() && (!b->failure.empty() || a->seconds < b->seconds);
  });
  fmt::print("{}\n", terminal.paint(Color::kBold, fmt::format("{:<34} {:>9}", "tile (m x n x k)", "GFLOP/s")));
  for (const MatmulTiming* t : sorted) {
    const bool is_pick = t == &timings.front();
    if (!t->failure.empty()) {
      fmt::print("{:<34} {:>9}  {}\n", tile_text(t->tile), "-", t->failure);
      continue;
    }
    const double rate = gflops(call, t->seconds);
    std::string bar;
    for (int i = 0; i < std::lround(kBar * rate / top); ++i) bar += terminal.unicode ? "█" : "#";
    fmt::print("{:<34} {:>9.1f}  {}{}\n", tile_text(t->tile), rate,
               terminal.paint(is_pick ? Color::kGreen : Color::kBlue, bar), is_pick ? "  <- cost model" : "");
  }
  if (best < 0 || timings.front().seconds <= 0) return;
  const double loss = 1.0 - timings[static_cast<std::size_t>(best)].seconds / timings.front().seconds;
  fmt::print("\nThe cost model's pick is {:.1f} % below the best tile of {}.\n", 100 * loss, timings.size());
}

/// Sizes from 1 to 8192, as many between 1 and 2 as between 4096 and 8192; half of them even multiples of 64. Products
/// of more than most_flops are passed over.
std::vector<MatmulShape> random_shapes(int count, std::uint64_t seed, double most_flops) {
  Random random(seed);
  const auto size = [&random] {
    const double log2 = 13.0 * static_cast<double>(random.next() >> 11) * 0x1p-53;
    const int any = static_cast<int>(std::exp2(log2));
    return random.next() % 2 == 0 && any > 64 ? any / 64 * 64 : any;
  };
  std::vector<MatmulShape> shapes;
  while (static_cast<int>(shapes.size()) < count) {
    const MatmulShape s = {1, size(), size(), size()};
    if (2.0 * s.m * s.n * s.k <= most_flops) shapes.push_back(s);
  }
  return shapes;
}

/// The cost model's pick beside the kernel's other candidates, over many shapes.
int run_random(const SearchOptions& options, bool json) {
  constexpr double kWithin = 0.05;
  const bool is_gpu = parse_device(options.device).kind == DeviceKind::kCUDA;
  Runtime runtime(runtime_options(options.call.machine));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  Progress progress("experiment", options.random);
  int within = 0;
  for (const MatmulShape& shape : random_shapes(options.random, options.call.seed, is_gpu ? 1e12 : 2e9)) {
    progress.show(static_cast<int>(rows.size()) + 1, to_string(shape));
    const MatmulCallShape call = resolve_on(options, shape);
    const auto timings = matmul_time(runtime, call.tensors, call.options,
                                     matmul_candidates(runtime, call.tensors, call.options), options.seconds);
    const int best = fastest(timings);
    const double loss =
        best < 0 ? 1.0
                 : 1.0 - timings[static_cast<std::size_t>(best)].seconds / std::max(timings.front().seconds, 1e-12);
    within += loss <= kWithin;
    rows.push_back({{"shape", to_string(shape)},
                    {"candidates", timings.size()},
                    {"pick", tile_text(timings.front().tile)},
                    {"best", best < 0 ? std::string() : tile_text(timings[static_cast<std::size_t>(best)].tile)},
                    {"gflops", gflops(call, timings.front().seconds)},
                    {"loss", loss}});
  }
  progress.finish();
  if (json) {
    fmt::print("{}\n",
               nlohmann::ordered_json{{"shapes", rows.size()}, {"within_5_percent", within}, {"rows", rows}}.dump(1));
    return kDone;
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a["loss"] > b["loss"]; });
  fmt::print("the picks that lose most:\n");
  for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), 10); ++i) {
    fmt::print("{:<20} {:>5.1f} %  {} instead of {}\n", rows[i]["shape"].get<std::string>(),
               100 * rows[i]["loss"].get<double>(), rows[i]["pick"].get<std::string>(),
               rows[i]["best"].get<std::string>());
  }
  fmt::print("\n{} of {} picks are within 5 % of the best candidate.\n", within, rows.size());
  return kDone;
}

int run_experiment(const SearchOptions& options, bool json) {
  if (options.random > 0) return run_random(options, json);
  Runtime runtime(runtime_options(options.call.machine));
  nlohmann::ordered_json document = nlohmann::ordered_json::array();
  for (const MatmulShape& shape : resolve_shapes(options.call, {{1, 1024, 1024, 1024}})) {
    const MatmulCallShape call = resolve_on(options, shape);
    const MatmulTile pick = matmul_candidates(runtime, call.tensors, call.options).front();
    const std::vector<MatmulTile> tiles = grid_of(options, shape, pick);
    if (!json) {
      fmt::print("{}, {} tiles\n", to_string(describe_matmul(call.tensors, call.options, false).problem), tiles.size());
    }
    const auto timings = matmul_time(runtime, call.tensors, call.options, tiles, options.seconds);
    if (!json) {
      print_chart(terminal_of(stdout), call, timings);
      continue;
    }
    const int best = fastest(timings);
    nlohmann::ordered_json j = {{"shape", to_string(shape)}, {"tiles", nlohmann::ordered_json::array()}};
    for (const MatmulTiming& t : timings) j["tiles"].push_back(json_of(call, t));
    j["pick"] = 0;
    j["best"] = best;
    if (best >= 0 && timings.front().seconds > 0) {
      j["loss"] = 1.0 - timings[static_cast<std::size_t>(best)].seconds / timings.front().seconds;
    }
    document.push_back(j);
  }
  if (json) fmt::print("{}\n", document.dump(2));
  return kDone;
}

std::shared_ptr<SearchOptions> add_search_options(CLI::App& command, Invocation& invocation) {
  auto options = std::make_shared<SearchOptions>();
  add_matmul_options(command, options->call);
  command.add_option("--device", options->device, "cpu, cuda or cuda:N")
      ->group("How")
      ->type_name("NAME")
      ->capture_default_str();
  command.add_option("--seconds", options->seconds, "Of measurement per tile")
      ->group("How")
      ->type_name("S")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_json_flag(command, invocation);
  return options;
}

}  // namespace

void add_tune(CLI::App& app, Invocation& invocation) {
  CLI::App* tune = app.add_subcommand("tune", "Time a kernel's candidates and remember the fastest");
  tune->require_subcommand(1);
  CLI::App* command = tune->add_subcommand("matmul", "For matrix products of these shapes, on this device");
  const auto options = add_search_options(*command, invocation);
  command->footer(
      "Examples:\n"
      "  fovea tune matmul --shapes 512x512x512,64x4096x4096 --dtype fp32\n"
      "  fovea tune matmul --shapes 16x4096x4096 --transpose-b --device cuda\n"
      "The result holds for this model of processor or GPU, instruction set and number of threads, and for shapes of\n"
      "the same bucket. Later processes find it in tuning.json in the cache directory; calls are never tuned by\n"
      "themselves.");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return run_tune(*options, invocation.json); };
  });
}

void add_experiment(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      app.add_subcommand("experiment", "Block sizes of a matrix product: table, chart, the model's pick");
  const auto options = add_search_options(*command, invocation);
  command->add_option("--random", options->random, "Instead: the pick beside the other candidates, for N random shapes")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  command->footer(
      "Examples:\n"
      "  fovea experiment --shape 1024x1024x1024 --dtype fp32\n"
      "  fovea experiment --shape 512x512x512 --block-m 64,128 --block-n 64,256 --block-k 128,512\n"
      "  fovea experiment --random 200 --dtype fp32 --threads 1\n"
      "  fovea experiment --shape 4096x4096x4096 --device cuda");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return run_experiment(*options, invocation.json); };
  });
}

}  // namespace fovea::cli
