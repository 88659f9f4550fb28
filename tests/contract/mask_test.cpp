// SPDX-License-Identifier: Apache-2.0
// Masks against a brute-force reading of their definition.
#include "contract/mask.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

constexpr SequenceMask kFourByFour = sequence_mask({MaskKind::kCausal}, 4, 4);
static_assert(visible_keys<MaskKind::kCausal>(kFourByFour, 0).end == 1);
static_assert(visible_keys<MaskKind::kCausal>(kFourByFour, 3).end == 4);

struct NamedRule {
  const char* name;
  MaskRule rule;
};
const NamedRule kRules[] = {
    {"none", {MaskKind::kNone}},
    {"causal", {MaskKind::kCausal}},
    {"causal top-left", {MaskKind::kCausal, MaskAlignment::kTopLeft}},
    {"window 2,0", {MaskKind::kWindow, MaskAlignment::kBottomRight, 2, 0}},
    {"window 0,3", {MaskKind::kWindow, MaskAlignment::kBottomRight, 0, 3}},
    {"window open,1", {MaskKind::kWindow, MaskAlignment::kTopLeft, kWindowOpen, 1}},
    {"window 4,open", {MaskKind::kWindow, MaskAlignment::kBottomRight, 4, kWindowOpen}},
};

bool sees(const MaskRule& rule, int seqlen_q, int seqlen_k, int q, int k) {
  const long position = q + (rule.alignment == MaskAlignment::kBottomRight ? seqlen_k - seqlen_q : 0);
  switch (rule.kind) {
    case MaskKind::kNone: return true;
    case MaskKind::kCausal: return k <= position;
    case MaskKind::kWindow: return k >= position - rule.window_left && k <= position + rule.window_right;
  }
  return false;
}

TEST(Mask, intervals_agree_with_the_definition_key_by_key) {
  for (const auto& [name, rule] : kRules) {
    for (int seqlen_q = 1; seqlen_q < 12; ++seqlen_q) {
      for (int seqlen_k = 0; seqlen_k < 12; ++seqlen_k) {
        const SequenceMask mask = sequence_mask(rule, seqlen_q, seqlen_k);
        for (int q = 0; q < seqlen_q; ++q) {
          for (int k = 0; k < seqlen_k; ++k) {
            ASSERT_EQ(visible_keys(rule.kind, mask, q).contains(k), sees(rule, seqlen_q, seqlen_k, q, k))
                << name << " seqlen_q=" << seqlen_q << " seqlen_k=" << seqlen_k << " q=" << q << " k=" << k;
          }
        }
      }
    }
  }
}

TEST(Mask, begin_and_end_never_decrease_with_the_row) {
  for (const auto& [name, rule] : kRules) {
    const SequenceMask mask = sequence_mask(rule, 40, 23);
    for (int q = 1; q < 40; ++q) {
      const KeyInterval above = visible_keys(rule.kind, mask, q - 1);
      const KeyInterval here = visible_keys(rule.kind, mask, q);
      EXPECT_GE(here.begin, above.begin) << name;
      EXPECT_GE(here.end, above.end) << name;
    }
  }
}

TEST(Mask, tile_ranges_bound_the_rows_inside) {
  for (const auto& [name, rule] : kRules) {
    const SequenceMask mask = sequence_mask(rule, 30, 37);
    for (int first = 0; first < 30; first += 3) {
      const int past = first + 5 < 30 ? first + 5 : 30;
      const KeyInterval any = tile_keys(rule.kind, mask, first, past);
      const KeyInterval full = tile_full_keys(rule.kind, mask, first, past);
      for (int k = 0; k < 37; ++k) {
        bool some = false, all = true;
        for (int q = first; q < past; ++q) {
          const bool visible = visible_keys(rule.kind, mask, q).contains(k);
          some |= visible;
          all &= visible;
        }
        if (some) {
          EXPECT_TRUE(any.contains(k)) << name << " " << first << " " << k;
        }
        EXPECT_EQ(full.contains(k), all) << name << " " << first << " " << k;
      }
    }
  }
}

TEST(Mask, open_windows_do_not_overflow_at_the_largest_positions) {
  const SequenceMask mask =
      sequence_mask({MaskKind::kWindow, MaskAlignment::kBottomRight, kWindowOpen, kWindowOpen}, 1, 1 << 30);
  EXPECT_EQ(visible_keys<MaskKind::kWindow>(mask, 0).end, 1 << 30);
  EXPECT_EQ(visible_keys<MaskKind::kWindow>(mask, 0).begin, 0);
}

}  // namespace
}  // namespace fovea
