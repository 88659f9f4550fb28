// SPDX-License-Identifier: Apache-2.0
// Masks are intervals: visible_keys(mask, q) = [begin, end) is the whole definition of a mask. Tile ranges, tiles that
// need no test, the element test, CPU loop bounds and the reference all follow from it.
// Condition on every kind: begin and end do not decrease with q, so a tile's first and last row decide for the tile
// (tests/contract/mask_test.cpp checks this by brute force).
#pragma once

#include "contract/host_device.h"
#include "fovea/types.h"

namespace fovea {

/// Keys [begin, end); empty when end <= begin.
struct KeyInterval {
  int begin;
  int end;
  HOST_DEVICE constexpr bool contains(int key) const { return key >= begin && key < end; }
  HOST_DEVICE constexpr bool contains(int first, int past) const { return first >= begin && past <= end; }
  HOST_DEVICE constexpr bool meets(int first, int past) const { return first < end && past > begin; }
  HOST_DEVICE constexpr bool empty() const { return end <= begin; }
  HOST_DEVICE constexpr int size() const { return end > begin ? end - begin : 0; }
};

/// "No limit on this side." Sequences are at most 2^30 long, so that position + window_right + 1 fits in an int.
inline constexpr int kWindowOpen = (1 << 30) - 1;

inline constexpr int kMaxSeqlen = 1 << 30;

/// The mask of a whole call: the same for every sequence of the batch.
struct MaskRule {
  MaskKind kind = MaskKind::kNone;
  MaskAlignment alignment = MaskAlignment::kBottomRight;
  int window_left = kWindowOpen;
  int window_right = kWindowOpen;
  friend HOST_DEVICE constexpr bool operator==(const MaskRule& a, const MaskRule& b) {
    return a.kind == b.kind && a.alignment == b.alignment && a.window_left == b.window_left &&
           a.window_right == b.window_right;
  }
};

/// The mask of one sequence: the rule with the sequence's lengths put in.
struct SequenceMask {
  int seqlen_k;
  int diagonal;  // key position at which query row 0 stands
  int window_left;
  int window_right;
};

HOST_DEVICE constexpr SequenceMask sequence_mask(const MaskRule& rule, int seqlen_q, int seqlen_k) {
  return {seqlen_k, rule.alignment == MaskAlignment::kBottomRight ? seqlen_k - seqlen_q : 0, rule.window_left,
          rule.window_right};
}

/// The keys that query row q of this sequence sees: the definition of each mask.
template <MaskKind kind>
HOST_DEVICE constexpr KeyInterval visible_keys(const SequenceMask& mask, int q) {
  const int position = q + mask.diagonal;
  if constexpr (kind == MaskKind::kCausal) {
    return {0, min_of(mask.seqlen_k, position + 1)};
  } else if constexpr (kind == MaskKind::kWindow) {
    return {max_of(0, position - mask.window_left), min_of(mask.seqlen_k, position + mask.window_right + 1)};
  } else {
    return {0, mask.seqlen_k};
  }
}

/// The same with the kind known only at run time (CPU, reference, planning).
HOST_DEVICE constexpr KeyInterval visible_keys(MaskKind kind, const SequenceMask& mask, int q) {
  switch (kind) {
    case MaskKind::kCausal: return visible_keys<MaskKind::kCausal>(mask, q);
    case MaskKind::kWindow: return visible_keys<MaskKind::kWindow>(mask, q);
    case MaskKind::kNone: break;
  }
  return visible_keys<MaskKind::kNone>(mask, q);
}

/// Keys that at least one row of [q_begin, q_end) may see (q_begin < q_end).
HOST_DEVICE constexpr KeyInterval tile_keys(MaskKind kind, const SequenceMask& mask, int q_begin, int q_end) {
  return {visible_keys(kind, mask, q_begin).begin, visible_keys(kind, mask, q_end - 1).end};
}

/// Keys that every row of [q_begin, q_end) sees: blocks inside need no test.
HOST_DEVICE constexpr KeyInterval tile_full_keys(MaskKind kind, const SequenceMask& mask, int q_begin, int q_end) {
  return {visible_keys(kind, mask, q_end - 1).begin, visible_keys(kind, mask, q_begin).end};
}

template <MaskKind kind>
HOST_DEVICE constexpr KeyInterval tile_keys(const SequenceMask& mask, int q_begin, int q_end) {
  return {visible_keys<kind>(mask, q_begin).begin, visible_keys<kind>(mask, q_end - 1).end};
}
template <MaskKind kind>
HOST_DEVICE constexpr KeyInterval tile_full_keys(const SequenceMask& mask, int q_begin, int q_end) {
  return {visible_keys<kind>(mask, q_end - 1).begin, visible_keys<kind>(mask, q_begin).end};
}

}  // namespace fovea
