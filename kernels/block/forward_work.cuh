// SPDX-License-Identifier: Apache-2.0
// Which rows, keys and columns of o belong to this block: the one place that reads blockIdx.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "contract/tile_divisors.h"

namespace fovea {

/// One block's share. Rows of a tile are queries, or, when the query heads of a kv head are packed, (query, head) pairs
/// with the head fastest, so that masks stay monotone in the row.
template <bool packs_heads>
struct ForwardWork {
  SequenceShape sequence;
  SequenceMask mask;
  KeyInterval keys;  // that this block multiplies: visible to some row of the tile, inside this split
  int batch;
  int head;   // first query head
  int group;  // query heads per row group: 1 unless packed
  int head_kv;
  int split;
  int row_first;  // of the tile
  int rows;       // that exist in o, at most block_q; 0 or less: nothing to do
  int v_first;    // first column of v and o

  __device__ int query(int row) const {
    if constexpr (!packs_heads) return row_first + row;  // a division by a group of 1 would not be free
    return (row_first + row) / group;
  }
  __device__ int head_of(int row) const {
    if constexpr (!packs_heads) return head;
    return head + (row_first + row) % group;
  }
  /// Element of q and of o at which a row begins; for o without v_first.
  __device__ Int64 query_offset(const QueryArgs& q, int row) const {
    return batch * q.stride_batch + (sequence.q_first + query(row)) * q.stride_row + head_of(row) * q.stride_head;
  }
  __device__ Int64 output_offset(const OutputArgs& o, int row) const {
    return batch * o.stride_batch + (sequence.q_first + query(row)) * o.stride_row + head_of(row) * o.stride_head;
  }
  /// Row of the partial results.
  __device__ Int64 partial_row(const AttentionArgs& args, int row) const {
    const Int64 of_head = (static_cast<Int64>(split) * args.batch + batch) * args.num_heads_q + head_of(row);
    return of_head * args.query.seqlen + query(row);
  }
  __device__ Int64 lse_offset(const OutputArgs& o, int row) const {
    return batch * o.lse_stride_batch + head_of(row) * o.lse_stride_head + sequence.q_first + query(row);
  }
  template <AttentionConfig config>
  __device__ void store_lse(const AttentionArgs& args, int row, float lse) const {
    if (row >= rows || v_first > 0) return;
    if constexpr (config.is_split) {
      args.split.partial_lse[partial_row(args, row)] = lse;
    } else if constexpr (config.has_lse) {
      args.output.lse[lse_offset(args.output, row)] = lse;
    }
  }
};

/// Which tile of which sequence: tile, and head, count among row groups (kv heads where query heads are packed).
struct TilePlace {
  int tile, head, batch, split;
  int head_kv, heads_per_kv;
  int v_first;
  int rows;  // per tile
};

/// Divides by what a tile's number is made of, where the host has not prepared for it.
struct PlainDivision {
  __device__ unsigned operator()(unsigned n, unsigned d, TilePart) const { return n / d; }
};
struct PreparedDivision {
  const TileDivisors& divisors;
  __device__ unsigned operator()(unsigned n, unsigned, TilePart part) const {
    return divisors.by[static_cast<int>(part)].divide(n);
  }
};

template <AttentionConfig config>
__device__ inline ForwardWork<config.packs_heads> forward_work_at(const AttentionArgs& args, const TilePlace& place) {
  ForwardWork<config.packs_heads> work;
  work.group = config.packs_heads ? place.heads_per_kv : 1;
  work.batch = place.batch;
  work.split = place.split;
  work.v_first = place.v_first;
  work.head = config.packs_heads ? place.head * place.heads_per_kv : place.head;
  work.head_kv = place.head_kv;

  work.sequence = sequence_shape(args.query, args.kv, work.batch);
  work.mask = sequence_mask(args.mask, work.sequence.seqlen_q, work.sequence.seqlen_k);
  work.row_first = place.tile * place.rows;
  work.rows = min_of(place.rows, work.sequence.rows_q * work.group - work.row_first);

  work.keys = {0, 0};
  const int q_begin = work.query(0);
  const int q_end = min_of(work.query(place.rows - 1) + 1, work.sequence.seqlen_q);
  if (q_begin < q_end) work.keys = tile_keys<config.mask>(work.mask, q_begin, q_end);
  if constexpr (config.is_split) {
    const int blocks = ceil_div(work.keys.size(), config.block_k);
    const int share = ceil_div(blocks, args.split.num_splits) * config.block_k;
    const int first = work.keys.begin + min_of(work.split * share, work.keys.size());
    work.keys = {first, min_of(first + share, work.keys.end)};
  }
  return work;
}

/// rows: per tile.
template <AttentionConfig config, typename Division = PlainDivision>
__device__ inline ForwardWork<config.packs_heads> find_forward_work(const AttentionArgs& args, unsigned block,
                                                                    int rows = config.block_q,
                                                                    const Division& divide = {}) {
  TilePlace place = {};
  place.rows = rows;
  place.heads_per_kv = static_cast<int>(divide(args.num_heads_q, args.num_heads_kv, TilePart::kHeadsKv));
  const int group = config.packs_heads ? place.heads_per_kv : 1;
  const unsigned heads = config.packs_heads ? args.num_heads_kv : args.num_heads_q;
  const unsigned tiles = divide(args.query.seqlen * group + rows - 1, rows, TilePart::kRows);
  const int columns = ceil_div(args.head_dim_v, config.head_dim_v);
  if (columns > 1) {  // 0 for lse alone
    place.v_first = static_cast<int>(block % columns) * config.head_dim_v;
    block /= columns;
  }
  if constexpr (config.is_split) {
    const unsigned rest = divide(block, args.split.num_splits, TilePart::kSplits);
    place.split = static_cast<int>(block - rest * args.split.num_splits);
    block = rest;
  }
  if constexpr (config.mask == MaskKind::kCausal) {  // longest tiles first, over many heads: short ones fill the tail
    const unsigned all = heads * args.batch, full = args.section_heads;
    const unsigned first = divide(block, tiles * full, TilePart::kTilesOfSection) * full;
    const unsigned section = min_of(full, all - first);
    block -= first * tiles;
    const unsigned row = divide(block, section, section == full ? TilePart::kSection : TilePart::kLastSection);
    place.tile = static_cast<int>(tiles - 1 - row);
    block = first + block - row * section;
  } else {  // tiles of one head together, so that they share its keys in L2
    const unsigned rest = divide(block, tiles, TilePart::kTiles);
    place.tile = static_cast<int>(block - rest * tiles);
    block = rest;
  }
  place.batch = static_cast<int>(divide(block, heads, TilePart::kHeads));
  place.head = static_cast<int>(block - place.batch * heads);
  place.head_kv = place.head;
  if (!config.packs_heads) {
    place.head_kv = static_cast<int>(divide(place.head, place.heads_per_kv, TilePart::kHeadsPerKv));
  }
  return forward_work_at<config>(args, place);
}

}  // namespace fovea
