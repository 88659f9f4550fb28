// SPDX-License-Identifier: Apache-2.0
#include "cli/demo/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reference/attention.h"

namespace fovea::cli {
namespace {

struct Shade {
  double from;  // share of a query's attention
  const char* unicode;
  const char* ascii;
};
constexpr Shade kShades[] = {{0.3, "█", "@"}, {0.1, "▓", "#"}, {0.03, "▒", "+"}, {0.01, "░", "."}, {0.0, "·", "-"}};

std::string cell(const Terminal& terminal, TileKind kind) {
  switch (kind) {
    case TileKind::kFull: return terminal.paint(Color::kGreen, terminal.unicode ? "██" : "##");
    case TileKind::kEdge: return terminal.paint(Color::kYellow, terminal.unicode ? "▒▒" : "//");
    case TileKind::kSkipped: break;
  }
  return terminal.paint(Color::kDim, terminal.unicode ? "··" : " .");
}

/// Softmax weights of one query row over all keys, in double.
std::vector<double> weights_of_row(const AttentionArgs& args, DType dtype, int head, int row) {
  const SequenceMask mask = sequence_mask(args.mask, args.query.seqlen, args.kv.seqlen);
  const KeyInterval keys = visible_keys(args.mask.kind, mask, row);
  std::vector<double> weights(static_cast<std::size_t>(args.kv.seqlen), 0.0);
  const int kv_head = head / (args.num_heads_q / args.num_heads_kv);
  double highest = -INFINITY, sum = 0;
  for (int j = keys.begin; j < keys.end; ++j) {
    const Int64 q_at = row * args.query.stride_row + head * args.query.stride_head;
    const Int64 k_at = j * args.kv.k_stride_row + kv_head * args.kv.k_stride_head;
    double score = 0;
    for (int d = 0; d < args.head_dim_qk; ++d) {
      score += load_element(args.query.q, dtype, q_at + d) * load_element(args.kv.k, dtype, k_at + d);
    }
    score *= args.softmax_scale;
    if (args.softcap > 0) score = args.softcap * std::tanh(score / args.softcap);
    weights[static_cast<std::size_t>(j)] = score;
    highest = std::max(highest, score);
  }
  for (int j = keys.begin; j < keys.end; ++j) {
    double& weight = weights[static_cast<std::size_t>(j)];
    sum += weight = std::exp(weight - highest);
  }
  if (sum > 0) std::for_each(weights.begin(), weights.end(), [sum](double& w) { w /= sum; });
  return weights;
}

Color color_of(const Shade& shade) {
  if (shade.from >= 0.1) return Color::kYellow;
  return shade.from >= 0.01 ? Color::kCyan : Color::kDim;
}

std::string shade_text(const Terminal& terminal, const Shade& shade) {
  return terminal.paint(color_of(shade), terminal.unicode ? shade.unicode : shade.ascii);
}

}  // namespace

TileKind tile_kind(MaskKind kind, const SequenceMask& mask, KeyInterval queries, KeyInterval keys) {
  const KeyInterval any = tile_keys(kind, mask, queries.begin, queries.end);
  if (any.empty() || any.end <= keys.begin || any.begin >= keys.end) return TileKind::kSkipped;
  const KeyInterval full = tile_full_keys(kind, mask, queries.begin, queries.end);
  return full.contains(keys.begin, keys.end) ? TileKind::kFull : TileKind::kEdge;
}

TileCounts count_tiles(const MaskRule& rule, int seqlen_q, int seqlen_k, int block_q, int block_k) {
  const SequenceMask mask = sequence_mask(rule, seqlen_q, seqlen_k);
  TileCounts counts;
  for (int q = 0; q < seqlen_q; q += block_q) {
    for (int k = 0; k < seqlen_k; k += block_k) {
      switch (tile_kind(rule.kind, mask, {q, std::min(q + block_q, seqlen_q)}, {k, std::min(k + block_k, seqlen_k)})) {
        case TileKind::kFull: ++counts.full; break;
        case TileKind::kEdge: ++counts.edge; break;
        case TileKind::kSkipped: ++counts.skipped; break;
      }
    }
  }
  return counts;
}

MaskPicture draw_mask(const Terminal& terminal, const MaskRule& rule, int seqlen_q, int seqlen_k, int side) {
  const SequenceMask mask = sequence_mask(rule, seqlen_q, seqlen_k);
  MaskPicture picture{ceil_div(seqlen_q, side), ceil_div(seqlen_k, side), {}};
  for (int q = 0; q < seqlen_q; q += picture.cell_q) {
    std::string line;
    for (int k = 0; k < seqlen_k; k += picture.cell_k) {
      line += cell(terminal, tile_kind(rule.kind, mask, {q, std::min(q + picture.cell_q, seqlen_q)},
                                       {k, std::min(k + picture.cell_k, seqlen_k)}));
    }
    picture.lines.push_back(line);
  }
  return picture;
}

std::vector<std::string> draw_edge_tile(const Terminal& terminal, const MaskRule& rule, int seqlen_q, int seqlen_k,
                                        const MaskPicture& picture, int side) {
  const SequenceMask mask = sequence_mask(rule, seqlen_q, seqlen_k);
  const auto is_edge = [&](int q, int k) {
    return tile_kind(rule.kind, mask, {q, std::min(q + picture.cell_q, seqlen_q)},
                     {k, std::min(k + picture.cell_k, seqlen_k)}) == TileKind::kEdge;
  };
  std::vector<std::string> lines;
  // The last edge tile of the middle row: for causal masks the one on the diagonal.
  const int q_first = static_cast<int>(picture.lines.size()) / 2 * picture.cell_q;
  for (int k = (ceil_div(seqlen_k, picture.cell_k) - 1) * picture.cell_k; k >= 0; k -= picture.cell_k) {
    if (!is_edge(q_first, k)) continue;
    for (int y = 0; y < side; ++y) {
      std::string line;
      const int q = std::min(q_first + picture.cell_q * y / side, seqlen_q - 1);
      for (int x = 0; x < side; ++x) {
        const bool sees = visible_keys(rule.kind, mask, q).contains(k + picture.cell_k * x / side);
        line += sees ? terminal.paint(Color::kYellow, terminal.unicode ? "█ " : "# ")
                     : terminal.paint(Color::kDim, terminal.unicode ? "· " : ". ");
      }
      lines.push_back(line);
    }
    break;
  }
  return lines;
}

std::string legend(const Terminal& terminal, TileKind kind) { return cell(terminal, kind); }

std::vector<std::string> draw_weights(const Terminal& terminal, const AttentionArgs& args, DType dtype, int head,
                                      int rows, int columns) {
  const int seqlen_q = args.query.seqlen, seqlen_k = args.kv.seqlen;
  const SequenceMask mask = sequence_mask(args.mask, seqlen_q, seqlen_k);
  std::vector<std::string> lines;
  for (int y = 0; y < rows; ++y) {
    const int row = static_cast<int>((2LL * y + 1) * seqlen_q / (2 * rows));
    const KeyInterval visible = visible_keys(args.mask.kind, mask, row);
    const std::vector<double> weights = weights_of_row(args, dtype, head, row);
    std::string line;
    for (int x = 0; x < columns; ++x) {
      const int begin = static_cast<int>(static_cast<Int64>(x) * seqlen_k / columns);
      const int end = static_cast<int>((x + 1LL) * seqlen_k / columns);
      double share = 0;
      for (int j = begin; j < end; ++j) share += weights[static_cast<std::size_t>(j)];
      const bool hidden = visible.empty() || end <= visible.begin || begin >= visible.end;
      const Shade* shade = std::find_if(std::begin(kShades), std::end(kShades),
                                        [share](const Shade& candidate) { return share >= candidate.from; });
      line += hidden ? " " : shade_text(terminal, *shade);
    }
    lines.push_back(line);
  }
  return lines;
}

std::string shade_legend(const Terminal& terminal) {
  std::string text;
  for (const Shade& shade : kShades) {
    const std::string from = shade.from > 0 ? fmt::format("over {:.0f} %", shade.from * 100) : "less";
    text += fmt::format("{} {}  ", shade_text(terminal, shade), from);
  }
  return text + "blank: hidden";
}

std::string bar(const Terminal& terminal, Color color, double share, int width) {
  const int length = std::clamp(static_cast<int>(std::lround(share * width)), share > 0 ? 1 : 0, width);
  std::string text;
  for (int i = 0; i < length; ++i) text += terminal.unicode ? "█" : "=";
  return terminal.paint(color, text);
}

}  // namespace fovea::cli
