// SPDX-License-Identifier: Apache-2.0
#include "cli/demo/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "cli/demo/inputs.h"
#include "cli/demo/picture.h"
#include "cli/demo/plain_attention.h"
#include "contract/dtype.h"

namespace fovea::cli {
namespace {

constexpr int kMapSide = 16;
constexpr int kEdgeSide = 8;
constexpr int kWeightRows = 12;
constexpr int kWeightColumns = 24;
constexpr int kBarWidth = 44;

void print_heading(const Terminal& terminal, int number, std::string_view text) {
  fmt::print("\n{}\n\n", terminal.paint(Color::kBold, fmt::format("{}  {}", number, text)));
}

/// Beside the map: what the cells mean, and one edge cell magnified.
std::vector<std::string> map_notes(const DemoScene& scene, const MaskPicture& picture) {
  const Terminal& t = scene.terminal;
  const TileCounts cells =
      count_tiles(scene.args.mask, scene.shape.seqlen_q, scene.shape.seqlen_k, picture.cell_q, picture.cell_k);
  std::vector<std::string> notes = {
      fmt::format("{} full    {:>4}  all visible: no test", legend(t, TileKind::kFull), cells.full),
      fmt::format("{} edge    {:>4}  the border: tested", legend(t, TileKind::kEdge), cells.edge),
      fmt::format("{} skipped {:>4}  hidden: never loaded", legend(t, TileKind::kSkipped), cells.skipped), ""};
  const std::vector<std::string> edge =
      draw_edge_tile(t, scene.args.mask, scene.shape.seqlen_q, scene.shape.seqlen_k, picture, kEdgeSide);
  if (edge.empty()) return notes;
  notes.push_back("Inside an edge cell (row: a query,");
  notes.push_back("column: a key, 1 in " + fmt::format("{} shown):", std::max(1, picture.cell_k / kEdgeSide)));
  notes.push_back("");
  for (const std::string& line : edge) notes.push_back("  " + line);
  return notes;
}

/// Scores of one head that the mask lets through, in percent.
double visible_percent(const DemoScene& scene) {
  const CallShape& s = scene.shape;
  const double all = 2.0 * (s.head_dim_qk + s.head_dim_v) * s.num_heads_q * s.seqlen_q * s.seqlen_k;
  return all > 0 ? 100 * scene.plan.flops / all : 0;
}

struct TimingRow {
  std::string name;
  double seconds;
  double flops;
  std::string memory;
  Color color;
};

void print_timing_row(const Terminal& terminal, const TimingRow& row, double slowest) {
  fmt::print("   {:<30} {:>10} {:>14.0f} {:>14}\n", row.name, seconds_text(row.seconds), row.flops / row.seconds / 1e9,
             row.memory);
  fmt::print("   {}\n", bar(terminal, row.color, row.seconds / slowest, kBarWidth));
}

void print_timing_notes(const DemoScene& scene, const DemoTimings& timings) {
  const PlainTiming& plain = timings.plain;
  fmt::print("\n   * of visible scores only. fovea: the median of {} run{}.\n", timings.ours.runs,
             timings.ours.runs == 1 ? "" : "s");
  if (timings.ours_unmasked) {
    fmt::print("   The mask leaves {:.1f} % of the scores; fovea takes {:.1f} % of the full time.\n",
               visible_percent(scene), 100 * timings.ours.seconds / timings.ours_unmasked->seconds);
  }
  if (!plain.ran) {
    fmt::print("   The plain method was not run: its scores take {} for each head.\n", bytes_text(plain.head_bytes));
    return;
  }
  fmt::print(
      "   The plain method ({}, fp32) computes and stores every score: {} for\n"
      "   a head, {} when all {} heads are held at once, as frameworks do.\n",
      plain_attention_isa(), bytes_text(plain.head_bytes), bytes_text(plain.scores_bytes), plain.num_heads);
  if (plain.heads_run < plain.num_heads) {
    fmt::print("   {} of its {} heads were run here, and the time scaled up.\n", plain.heads_run, plain.num_heads);
  }
  const std::string verdict = fmt::format("{:.1f} times faster than plain; results differ by {:.0e} at most.",
                                          plain.seconds / timings.ours.seconds, plain.max_difference);
  fmt::print("   {}\n", scene.terminal.paint(Color::kBold, verdict));
}

}  // namespace

std::string mask_text(const MaskRule& mask) {
  const auto side = [](int n) { return n >= kWindowOpen ? std::string("open") : std::to_string(n); };
  switch (mask.kind) {
    case MaskKind::kCausal: return "causal";
    case MaskKind::kWindow: return fmt::format("window {},{}", side(mask.window_left), side(mask.window_right));
    case MaskKind::kNone: break;
  }
  return "no mask";
}

void print_title(const DemoScene& scene) {
  const CallShape& s = scene.shape;
  const char* times = scene.terminal.unicode ? "·" : "|";
  const bool is_llama = s.num_heads_q == 32 && s.num_heads_kv == 8 && s.head_dim_qk == 128;
  const std::string title =
      fmt::format("Fovea: exact attention, one layer{}", is_llama ? " of Llama 3 8B's shape" : "");
  fmt::print("{}\n\n", scene.terminal.paint(Color::kBold, title));
  fmt::print("   o = softmax(q k^T / sqrt({})) v {} {}\n", s.head_dim_qk, times, mask_text(scene.args.mask));
  fmt::print("   {} tokens, {} query heads sharing {} key/value heads, head_dim {}, {}\n", s.seqlen_q, s.num_heads_q,
             s.num_heads_kv, s.head_dim_qk, name_of(s.dtype));
  fmt::print("   {} {} {} thread{}\n", scene.machine.processor, times, scene.machine.num_threads,
             scene.machine.num_threads == 1 ? "" : "s");
  fmt::print("   {} {} {}\n", scene.plan.kernel, times, scene.plan.detail);
}

void print_mask_section(const DemoScene& scene) {
  const CallShape& s = scene.shape;
  const MaskPicture picture = draw_mask(scene.terminal, scene.args.mask, s.seqlen_q, s.seqlen_k, kMapSide);
  print_heading(scene.terminal, 1, "What the mask hides is never computed");
  fmt::print(
      "   Each query may look at each key: {} x {} scores for a head. Fovea goes\n"
      "   through them tile by tile and keeps a running maximum, a running sum and the\n"
      "   output so far, never the scores. A cell below is {} queries x {} keys.\n\n",
      s.seqlen_q, s.seqlen_k, picture.cell_q, picture.cell_k);
  const std::vector<std::string> notes = map_notes(scene, picture);
  const std::size_t lines = std::max(picture.lines.size(), notes.size());
  const int cells = ceil_div(s.seqlen_k, picture.cell_k);
  const std::string last_key = std::to_string(s.seqlen_k - 1);
  fmt::print("  {:>5} {:<{}}{}\n", "query", "key 0", 2 * cells - static_cast<int>(last_key.size()), last_key);
  for (std::size_t i = 0; i < lines; ++i) {
    const bool has_map = i < picture.lines.size();
    const std::string label = has_map ? std::to_string(i * static_cast<std::size_t>(picture.cell_q)) : "";
    const std::string map = has_map ? picture.lines[i] : std::string(static_cast<std::size_t>(2 * cells), ' ');
    fmt::print("  {:>5} {}  {}\n", label, map, i < notes.size() ? notes[i] : "");
  }
  fmt::print("\n   The mask lets {:.1f} % of the scores through; section 4 shows what that saves.\n",
             visible_percent(scene));
}

void print_weights_section(const DemoScene& scene) {
  const Terminal& terminal = scene.terminal;
  const int heads = std::min(3, scene.shape.num_heads_q);
  print_heading(terminal, 2, "Where the heads look");
  fmt::print("   Down: queries. Across: keys. Shade: the share of a query's attention.\n\n");
  std::array<std::vector<std::string>, 3> pictures;
  std::string titles = "  ";
  for (int h = 0; h < heads; ++h) {
    pictures[static_cast<std::size_t>(h)] =
        draw_weights(terminal, scene.args, scene.shape.dtype, h, kWeightRows, kWeightColumns);
    titles += fmt::format(" {:<{}}", fmt::format("{}: {}", h, description_of(kind_of_head(h))), kWeightColumns + 1);
  }
  fmt::print("{}\n", titles);
  for (std::size_t y = 0; y < kWeightRows; ++y) {
    std::string line = "  ";
    for (int h = 0; h < heads; ++h) line += " " + pictures[static_cast<std::size_t>(h)][y] + " ";
    fmt::print("{}\n", line);
  }
  fmt::print("\n   {}\n", shade_legend(terminal));
  if (scene.shape.num_heads_q >= 4 * scene.shape.num_heads_kv) {
    fmt::print("   These heads share one set of keys and values and differ in their queries.\n");
  }
  fmt::print("   (Inputs: random, with rotary positions as in Llama 3 and a bias per head.)\n");
}

void print_check_section(const DemoScene& scene, const AttentionReport& report) {
  const Terminal& terminal = scene.terminal;
  const auto ratio = [](double ours, double plain) { return plain > 0 ? ours / plain : 0.0; };
  const Comparison& o = report.o;
  print_heading(terminal, 3, "Is it right?");
  fmt::print("   {} of {} rows again, in float64 and by the plain method in {}:\n\n", report.rows_checked,
             static_cast<std::int64_t>(scene.shape.num_heads_q) * scene.shape.seqlen_q, name_of(scene.shape.dtype));
  fmt::print("   {:<30} {:>11} {:>11}\n", "error against float64", "largest", "RMS");
  fmt::print("   {:<30} {:>11.2e} {:>11.2e}\n", "fovea", o.max_error(), o.rms_error());
  fmt::print("   {:<30} {:>11.2e} {:>11.2e}\n", "plain method", o.plain_max_error(), o.plain_rms_error());
  fmt::print("   {:<30} {:>11.2f} {:>11.2f}   {}\n", "ratio, at most 2 and 1.1",
             ratio(o.max_error(), o.plain_max_error()), ratio(o.rms_error(), o.plain_rms_error()),
             report.passed ? terminal.paint(Color::kGreen, "passed") : terminal.paint(Color::kRed, "FAILED"));
}

void print_timing_section(const DemoScene& scene, const DemoTimings& timings) {
  const Terminal& terminal = scene.terminal;
  const PlainTiming& plain = timings.plain;
  const double unmasked = timings.ours_unmasked ? timings.ours_unmasked->seconds : 0.0;
  const double slowest = std::max({timings.ours.seconds, unmasked, plain.seconds});
  print_heading(terminal, 4, "Time and memory");
  fmt::print("   {:<30} {:>10} {:>14} {:>14}\n", "", "time", "GFLOP/s *", "extra memory");
  const auto memory = [&] {
    return timings.ours_memory_bytes ? bytes_text(static_cast<double>(*timings.ours_memory_bytes)) : std::string("?");
  };
  print_timing_row(terminal, {"fovea", timings.ours.seconds, scene.plan.flops, memory(), Color::kGreen}, slowest);
  if (timings.ours_unmasked) {
    print_timing_row(terminal, {"fovea, mask taken off", unmasked, timings.unmasked_flops, "same", Color::kCyan},
                     slowest);
  }
  if (plain.ran) {
    print_timing_row(terminal,
                     {"plain method", plain.seconds, scene.plan.flops, bytes_text(plain.scores_bytes), Color::kYellow},
                     slowest);
  }
  print_timing_notes(scene, timings);
}

void print_next_section(const DemoScene& scene) {
  print_heading(scene.terminal, 5, "What changes when");
  fmt::print(
      "   fovea demo --window 512       each token sees 512 back: a band is left\n"
      "   fovea demo --seqlen 16384     16 times the scores, no more memory for them\n"
      "   fovea demo --dtype fp32       errors of 1e-7; twice the bytes\n"
      "   fovea demo --full             no mask: nothing to skip\n"
      "   fovea verify attention        the check on every mask and awkward shape\n"
      "   fovea bench attention         speed as a share of what this machine can do\n");
}

}  // namespace fovea::cli
