// SPDX-License-Identifier: Apache-2.0
// Drawings of a mask's tiles and of attention weights, as lines of text for a terminal: block characters and colours
// where the terminal has them, ASCII where not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "contract/attention_args.h"
#include "fovea/types.h"

namespace fovea::cli {

enum class TileKind : unsigned char { kSkipped, kEdge, kFull };

/// The tile of queries [q_begin, q_end) and keys [k_begin, k_end). Full: every query sees every key. Skipped: none sees
/// any. Edge: the mask's border runs through it.
TileKind tile_kind(MaskKind kind, const SequenceMask& mask, KeyInterval queries, KeyInterval keys);

struct TileCounts {
  std::int64_t full = 0, edge = 0, skipped = 0;
  std::int64_t total() const { return full + edge + skipped; }
};
TileCounts count_tiles(const MaskRule& rule, int seqlen_q, int seqlen_k, int block_q, int block_k);

/// The whole mask in at most side x side cells of two characters each, one line per row of cells.
struct MaskPicture {
  int cell_q = 0, cell_k = 0;  // queries and keys of a cell
  std::vector<std::string> lines;
};
MaskPicture draw_mask(const Terminal& terminal, const MaskRule& rule, int seqlen_q, int seqlen_k, int side);

/// One cell of the mask, magnified to side x side points, each the query and key at that place.
std::vector<std::string> draw_edge_tile(const Terminal& terminal, const MaskRule& rule, int seqlen_q, int seqlen_k,
                                        const MaskPicture& picture, int side);

std::string legend(const Terminal& terminal, TileKind kind);

/// Attention weights of one head: rows of queries from top to bottom, keys from left to right. A cell's shade is the
/// share of the attention of one query (in the middle of the cell's rows) that goes to the cell's keys.
std::vector<std::string> draw_weights(const Terminal& terminal, const AttentionArgs& args, DType dtype, int head,
                                      int rows, int columns);
/// The shades of draw_weights with the shares from which each is used.
std::string shade_legend(const Terminal& terminal);

/// A bar of at most width characters; at least one for a positive share.
std::string bar(const Terminal& terminal, Color color, double share, int width);

}  // namespace fovea::cli
