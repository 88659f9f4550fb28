// SPDX-License-Identifier: Apache-2.0
// The compile-time half of how attention is computed: a structural type, one template parameter of a GPU kernel.
// Rule: a field is here if it changes which instructions run; what changes only how many is in attention_args.h.
#pragma once

#include "contract/dtype.h"

namespace fovea {

struct AttentionConfig {
  DType dtype = DType::kBF16;
  MaskKind mask = MaskKind::kNone;
  int head_dim_qk = 0;  // as compiled: padded up to what the tile needs; the true one is in the args
  int head_dim_v = 0;
  int block_q = 0;
  int block_k = 0;
  int stages = 0;  // buffers of k and v in shared memory
  int warps = 0;
  bool has_lse = false;
  bool has_softcap = false;
  bool is_packed = false;  // cu_seqlens: sequences of different length in one tensor
  bool has_seq_lens = false;
  bool is_split = false;  // keys are split; partial states go to the workspace
  // GPU kernels only
  int step_k = 0;            // keys per softmax step, a divisor of block_k
  int blocks_per_sm = 0;     // that registers must allow
  int copy_bytes = 0;        // alignment of every row: 16, 8, 4 or 2
  int q_kept = 0;            // 16-column blocks of q kept in registers; the others are read again for every step
  bool packs_heads = false;  // the query heads of a kv head are rows of one tile
  int key_warps = 0;         // attention_forward_sm80: warps that share rows and take the steps of keys in turn; 0 as 1
  // attention_forward_sm90 only; its warps are those of the consumers and four that load
  int q_stages = 0;          // buffers of q: with two, the next tile's q is there when its first product is issued
  bool takes_turns = false;  // warpgroups issue their products in turn
  bool copies_o = false;     // o leaves by the copy engine, through shared memory of its own
  bool merges_in_cluster = false;  // the splits of a tile are a cluster, which merges them
  friend constexpr bool operator==(const AttentionConfig&, const AttentionConfig&) = default;
};

/// A row of a part of o in shared memory: fp32, and behind it the lse; eight rows lie in different banks.
constexpr int part_row_bytes(const AttentionConfig& c) { return 4 * c.head_dim_v + 32; }

/// Parts of o that a block leaves in shared memory to be merged: of its warps, or one, to be merged with other blocks'.
constexpr int parts_of_block(const AttentionConfig& c) {
  return c.key_warps > 1 ? c.key_warps : c.merges_in_cluster ? 1 : 0;
}

/// Shared memory of attention_forward_sm80: q, then the stages of k and v; o passes through the same bytes at the end.
constexpr int forward_sm80_shared_bytes(const AttentionConfig& c) {
  const int inputs = 2 * (c.block_q * c.head_dim_qk + c.stages * c.block_k * (c.head_dim_qk + c.head_dim_v));
  const int output = 2 * c.block_q * c.head_dim_v, parts = parts_of_block(c) * c.block_q * part_row_bytes(c);
  return max_of(inputs, max_of(output, parts));
}

/// Columns of a line of shared memory that the copy engine writes and warpgroup products read: 128 bytes.
inline constexpr int kPanelColumns = 64;

constexpr int panels_of(int columns) { return (columns + kPanelColumns - 1) / kPanelColumns; }

/// Splits of a tile that are the blocks of one cluster, at most.
inline constexpr int kMaxClusterSplits = 8;

inline constexpr int kForwardSm90BarrierBytes = 384;
inline constexpr int kForwardSm90TileBytes = 384;

/// Shared memory of attention_forward_sm90: q, the stages of k, those of v; o; barriers; tiles.
constexpr int forward_sm90_shared_bytes(const AttentionConfig& c) {
  const int panels = c.q_stages * c.block_q * panels_of(c.head_dim_qk) +
                     c.stages * c.block_k * (panels_of(c.head_dim_qk) + panels_of(c.head_dim_v)) +
                     (c.copies_o ? c.block_q * panels_of(c.head_dim_v) : 0);
  return panels * 2 * kPanelColumns + kForwardSm90BarrierBytes + kForwardSm90TileBytes;
}

/// Shared memory of attention_forward_fp32: 64 x 64 chunks of q, of k or v, and of the weights, in padded rows.
constexpr int forward_fp32_shared_bytes() { return 3 * 64 * 68 * 4; }

}  // namespace fovea
