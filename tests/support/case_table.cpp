// SPDX-License-Identifier: Apache-2.0
// The rows of the case table.
#include <limits>

#include "tests/support/cases.h"

namespace fovea::testing {
namespace {

using Cases = std::vector<AttentionCase>;

void add_shapes(Cases& cases) {
  cases.push_back({.name = "one query, one key", .seqlen_q = 1, .seqlen_k = 1});
  cases.push_back({.name = "no keys", .batch = 2, .seqlen_q = 3, .seqlen_k = 0, .num_heads_q = 2});
  cases.push_back({.name = "no queries", .batch = 2, .seqlen_q = 0, .seqlen_k = 5});
  cases.push_back({.name = "no batch", .batch = 0, .seqlen_q = 4, .seqlen_k = 4});
  cases.push_back({.name = "no heads", .seqlen_q = 4, .seqlen_k = 4, .num_heads_q = 0, .num_heads_kv = 0});
  cases.push_back({.name = "nothing is a multiple",
                   .batch = 2,
                   .seqlen_q = 113,
                   .seqlen_k = 203,
                   .num_heads_q = 3,
                   .num_heads_kv = 3});
  cases.push_back({.name = "several blocks",
                   .batch = 1,
                   .seqlen_q = 300,
                   .seqlen_k = 517,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .head_dim = 128});
  cases.push_back(
      {.name = "grouped heads 8/2", .batch = 2, .seqlen_q = 65, .seqlen_k = 129, .num_heads_q = 8, .num_heads_kv = 2});
  cases.push_back({.name = "one kv head for seven",
                   .seqlen_q = 33,
                   .seqlen_k = 71,
                   .num_heads_q = 7,
                   .num_heads_kv = 1,
                   .head_dim = 32});
  cases.push_back({.name = "many short sequences",
                   .batch = 37,
                   .seqlen_q = 5,
                   .seqlen_k = 7,
                   .num_heads_q = 2,
                   .num_heads_kv = 2,
                   .causal = true});
  cases.push_back({.name = "batch x heads beyond 65535",
                   .batch = 8200,
                   .seqlen_q = 1,
                   .seqlen_k = 2,
                   .num_heads_q = 8,
                   .num_heads_kv = 4,
                   .head_dim = 8,
                   .quick = false});
  cases.push_back(
      {.name = "more queries than keys", .seqlen_q = 127, .seqlen_k = 40, .num_heads_q = 2, .num_heads_kv = 1});
  for (int d : {1, 2, 3, 8, 17, 40, 96, 100, 160, 192, 256, 320, 512}) {
    cases.push_back({.name = "head_dim " + std::to_string(d),
                     .seqlen_q = 70,
                     .seqlen_k = 90,
                     .num_heads_q = 2,
                     .num_heads_kv = 1,
                     .head_dim = d,
                     .causal = d % 2 == 0});
  }
  cases.push_back({.name = "head_dim 192/128",
                   .seqlen_q = 97,
                   .seqlen_k = 131,
                   .num_heads_q = 2,
                   .num_heads_kv = 2,
                   .head_dim = 192,
                   .head_dim_v = 128,
                   .causal = true});
  cases.push_back({.name = "head_dim 64/200",
                   .seqlen_q = 40,
                   .seqlen_k = 81,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .head_dim = 64,
                   .head_dim_v = 200});
  cases.push_back({.name = "head_dim 48/5", .seqlen_q = 40, .seqlen_k = 81, .head_dim = 48, .head_dim_v = 5});
  cases.push_back({.name = "head_dim_v 0", .seqlen_q = 4, .seqlen_k = 9, .head_dim = 8, .head_dim_v = -1});
}

void add_masks(Cases& cases) {
  for (bool top_left : {false, true}) {
    const std::string where = top_left ? " top-left" : "";
    for (auto [sq, sk] : {std::pair{256, 256}, {1, 239}, {113, 203}, {203, 113}, {128, 217}, {799, 3}, {64, 64}}) {
      cases.push_back({.name = "causal" + where,
                       .seqlen_q = sq,
                       .seqlen_k = sk,
                       .num_heads_q = 2,
                       .num_heads_kv = 1,
                       .causal = true,
                       .top_left = top_left});
    }
    for (auto [left, right] : {std::pair{0, 0}, {7, 0}, {0, 9}, {33, 20}, {500, 3}}) {
      cases.push_back({.name = "window" + where,
                       .seqlen_q = 150,
                       .seqlen_k = 190,
                       .num_heads_q = 2,
                       .num_heads_kv = 2,
                       .top_left = top_left,
                       .window_left = left,
                       .window_right = right});
      cases.push_back({.name = "window, more queries" + where,
                       .seqlen_q = 190,
                       .seqlen_k = 70,
                       .top_left = top_left,
                       .window_left = left,
                       .window_right = right});
    }
  }
  cases.push_back({.name = "window open to the left", .seqlen_q = 120, .seqlen_k = 140, .window_right = 5});
  cases.push_back({.name = "window open to the right", .seqlen_q = 120, .seqlen_k = 140, .window_left = 5});
  cases.push_back({.name = "window as wide as a number goes",
                   .seqlen_q = 130,
                   .seqlen_k = 140,
                   .window_left = std::numeric_limits<int>::max(),
                   .window_right = std::numeric_limits<int>::max()});
  cases.push_back({.name = "causal window as wide as a number goes",
                   .seqlen_q = 130,
                   .seqlen_k = 140,
                   .causal = true,
                   .window_left = std::numeric_limits<int>::max()});
  cases.push_back({.name = "causal window",
                   .seqlen_q = 220,
                   .seqlen_k = 260,
                   .num_heads_q = 4,
                   .num_heads_kv = 2,
                   .head_dim = 128,
                   .causal = true,
                   .window_left = 50});
  cases.push_back({.name = "causal, long",
                   .seqlen_q = 700,
                   .seqlen_k = 700,
                   .num_heads_q = 1,
                   .head_dim = 128,
                   .causal = true,
                   .quick = false});
}

void add_lengths(Cases& cases) {
  cases.push_back({.name = "lengths",
                   .batch = 4,
                   .seqlen_q = 90,
                   .seqlen_k = 90,
                   .num_heads_q = 4,
                   .num_heads_kv = 2,
                   .lengths_q = {90, 1, 0, 47},
                   .lengths_k = {90, 1, 0, 47}});
  cases.push_back({.name = "lengths, causal",
                   .batch = 4,
                   .seqlen_q = 90,
                   .seqlen_k = 90,
                   .num_heads_q = 2,
                   .num_heads_kv = 2,
                   .causal = true,
                   .lengths_q = {90, 1, 0, 47},
                   .lengths_k = {90, 1, 0, 47}});
  cases.push_back({.name = "lengths of keys only",
                   .batch = 3,
                   .seqlen_q = 20,
                   .seqlen_k = 130,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .causal = true,
                   .lengths_k = {130, 64, 3}});
  cases.push_back({.name = "lengths of queries only",
                   .batch = 3,
                   .seqlen_q = 70,
                   .seqlen_k = 50,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .lengths_q = {70, 0, 13}});
  cases.push_back({.name = "lengths, window",
                   .batch = 2,
                   .seqlen_q = 200,
                   .seqlen_k = 200,
                   .window_left = 30,
                   .window_right = 10,
                   .lengths_q = {200, 77},
                   .lengths_k = {180, 99}});
  cases.push_back({.name = "packed",
                   .layout = Layout::kTHD,
                   .num_heads_q = 4,
                   .num_heads_kv = 2,
                   .lengths_q = {5, 130, 0, 1, 64},
                   .lengths_k = {5, 130, 0, 1, 64}});
  cases.push_back({.name = "packed, causal",
                   .layout = Layout::kTHD,
                   .num_heads_q = 4,
                   .num_heads_kv = 1,
                   .head_dim = 128,
                   .causal = true,
                   .lengths_q = {5, 130, 0, 1, 64, 200},
                   .lengths_k = {5, 130, 0, 1, 64, 200}});
  cases.push_back({.name = "packed, unequal, causal",
                   .layout = Layout::kTHD,
                   .num_heads_q = 2,
                   .num_heads_kv = 2,
                   .causal = true,
                   .lengths_q = {10, 0, 40, 3, 90},
                   .lengths_k = {50, 7, 20, 0, 90}});
  cases.push_back({.name = "packed, window",
                   .layout = Layout::kTHD,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .window_left = 16,
                   .window_right = 4,
                   .lengths_q = {70, 33, 128},
                   .lengths_k = {70, 40, 100}});
  cases.push_back({.name = "packed, nothing in it",
                   .layout = Layout::kTHD,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .lengths_q = {0, 0},
                   .lengths_k = {0, 0}});
}

void add_decode(Cases& cases) {
  cases.push_back({.name = "decode",
                   .batch = 2,
                   .seqlen_q = 1,
                   .seqlen_k = 1000,
                   .num_heads_q = 8,
                   .num_heads_kv = 2,
                   .head_dim = 128});
  cases.push_back({.name = "decode, one head, split over keys",
                   .seqlen_q = 1,
                   .seqlen_k = 5003,
                   .num_heads_q = 1,
                   .head_dim = 128});
  cases.push_back({.name = "decode with lengths",
                   .batch = 3,
                   .seqlen_q = 1,
                   .seqlen_k = 2100,
                   .num_heads_q = 4,
                   .num_heads_kv = 1,
                   .head_dim = 64,
                   .causal = true,
                   .lengths_k = {2100, 1, 700}});
  cases.push_back({.name = "four new tokens",
                   .batch = 2,
                   .seqlen_q = 4,
                   .seqlen_k = 1500,
                   .num_heads_q = 8,
                   .num_heads_kv = 2,
                   .head_dim = 128,
                   .causal = true});
  cases.push_back({.name = "decode, odd head_dim",
                   .seqlen_q = 1,
                   .seqlen_k = 777,
                   .num_heads_q = 6,
                   .num_heads_kv = 2,
                   .head_dim = 72,
                   .head_dim_v = 40});
  cases.push_back({.name = "decode, window",
                   .seqlen_q = 2,
                   .seqlen_k = 1500,
                   .num_heads_q = 4,
                   .num_heads_kv = 4,
                   .causal = true,
                   .window_left = 100});
}

void add_options(Cases& cases) {
  for (Layout layout : {Layout::kBSHD, Layout::kBHSD}) {
    cases.push_back({.name = "strided",
                     .layout = layout,
                     .batch = 2,
                     .seqlen_q = 75,
                     .seqlen_k = 140,
                     .num_heads_q = 4,
                     .num_heads_kv = 2,
                     .head_dim = 40,
                     .causal = true,
                     .strided = true});
    cases.push_back({.name = "contiguous",
                     .layout = layout,
                     .batch = 2,
                     .seqlen_q = 100,
                     .seqlen_k = 100,
                     .num_heads_q = 2,
                     .num_heads_kv = 2});
  }
  cases.push_back({.name = "strided, packed",
                   .layout = Layout::kTHD,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .head_dim = 24,
                   .causal = true,
                   .lengths_q = {31, 40},
                   .lengths_k = {31, 40},
                   .strided = true});
  cases.push_back({.name = "softcap",
                   .seqlen_q = 130,
                   .seqlen_k = 130,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .causal = true,
                   .softmax_scale = 1.0f,
                   .softcap = 5.0f});
  cases.push_back(
      {.name = "softcap, large scores", .seqlen_q = 60, .seqlen_k = 90, .softcap = 30.0f, .fill = Fill::kLargeScores});
  cases.push_back({.name = "scale", .seqlen_q = 60, .seqlen_k = 90, .softmax_scale = 0.5f});
  cases.push_back({.name = "negative scale", .seqlen_q = 60, .seqlen_k = 90, .causal = true, .softmax_scale = -0.25f});
  cases.push_back({.name = "scale zero", .seqlen_q = 60, .seqlen_k = 90, .softmax_scale = 0.0f});
  cases.push_back({.name = "without lse", .seqlen_q = 60, .seqlen_k = 90, .lse = false});
  cases.push_back({.name = "large scores",
                   .seqlen_q = 120,
                   .seqlen_k = 200,
                   .num_heads_q = 2,
                   .num_heads_kv = 2,
                   .causal = true,
                   .fill = Fill::kLargeScores});
  cases.push_back({.name = "equal scores", .seqlen_q = 40, .seqlen_k = 300, .fill = Fill::kEqualScores});
  cases.push_back({.name = "tiny values", .seqlen_q = 40, .seqlen_k = 100, .fill = Fill::kTiny});
  cases.push_back({.name = "NaN key, causal",
                   .seqlen_q = 200,
                   .seqlen_k = 200,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .causal = true,
                   .fill = Fill::kNanKey});
  cases.push_back({.name = "NaN key, causal, d=128",
                   .seqlen_q = 260,
                   .seqlen_k = 300,
                   .head_dim = 128,
                   .causal = true,
                   .fill = Fill::kNanKey});
  cases.push_back({.name = "NaN key, window",
                   .seqlen_q = 200,
                   .seqlen_k = 200,
                   .window_left = 20,
                   .window_right = 10,
                   .fill = Fill::kNanKey});
  cases.push_back({.name = "NaN key, decode",
                   .seqlen_q = 3,
                   .seqlen_k = 900,
                   .num_heads_q = 4,
                   .num_heads_kv = 1,
                   .window_left = 300,
                   .window_right = 0,
                   .fill = Fill::kNanKey});
  for (int d : {40, 64, 128}) {
    cases.push_back({.name = "infinite key",
                     .seqlen_q = 120,
                     .seqlen_k = 200,
                     .head_dim = d,
                     .causal = d != 40,
                     .fill = Fill::kInfiniteKey});
  }
  cases.push_back({.name = "infinite key, decode",
                   .batch = 2,
                   .seqlen_q = 1,
                   .seqlen_k = 900,
                   .num_heads_q = 8,
                   .num_heads_kv = 2,
                   .head_dim = 128,
                   .fill = Fill::kInfiniteKey});
  cases.push_back({.name = "hidden keys of enormous score",
                   .seqlen_q = 150,
                   .seqlen_k = 150,
                   .num_heads_q = 2,
                   .num_heads_kv = 1,
                   .causal = true,
                   .fill = Fill::kHugeHidden});
}

/// On a Hopper, which takes them in turn: narrow heads three blocks per SM, wider ones section by section.
void add_many_tiles(Cases& cases) {
  for (int d : {16, 72}) {
    cases.push_back({.name = "more tiles than places",
                     .batch = d == 16 ? 20 : 25,
                     .seqlen_q = 130,
                     .seqlen_k = 40,
                     .num_heads_q = 8,
                     .num_heads_kv = 4,
                     .head_dim = d,
                     .causal = true,
                     .top_left = true,
                     .quick = false});
  }
}

}  // namespace

std::vector<AttentionCase> attention_cases(DType dtype) {
  Cases cases;
  add_shapes(cases);
  add_masks(cases);
  add_lengths(cases);
  add_decode(cases);
  add_options(cases);
  add_many_tiles(cases);
  for (AttentionCase& c : cases) c.dtype = dtype;
  return cases;
}

}  // namespace fovea::testing
