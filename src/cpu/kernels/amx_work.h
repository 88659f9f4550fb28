// SPDX-License-Identifier: Apache-2.0
// A task of the AMX unit in the terms of its sequence: sizes, scratch, which rows and keys, and the way of rows between
// the user's memory and tiles. Rows of all heads of the task are flattened, position first: row r is position
// q_begin + r / heads of head head_begin + r % heads, so that a block of 32 rows stays near the diagonal.
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "cpu/kernels/amx_pack.h"
#include "cpu/kernels/amx_products.h"
#include "cpu/kernels/amx_softmax.h"
#include "cpu/kernels/kernels.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {

/// Bytes of packed keys and values together: a quarter of the smallest L2 cache beside AMX (2 MiB). A half is as fast
/// on a good day, and 15 % slower when the pages of the scratch fall badly in the cache (head_dim 128).
inline constexpr Int64 kPackedBytes = 1 << 19;

/// Sizes that follow from the config alone.
struct Geometry {
  int parts;
  int depth_steps;   // of 32 elements of head_dim_qk
  int value_groups;  // of 16 columns of head_dim_v; even
  int span_keys;     // keys that are packed at a time, a multiple of kStepKeys
  int chunk_blocks;  // blocks of 32 rows that share them
  Int64 key_part_bytes, value_part_bytes, block_o_bytes, queries_bytes;
  Int64 o_stride() const { return value_groups * 16; }  // elements
};

static inline Geometry geometry_of(const AttentionConfig& config) {
  Geometry g = {};
  g.parts = config.dtype == DType::kBF16 ? 1 : config.dtype == DType::kF16 ? 2 : 3;
  g.depth_steps = ceil_div(config.head_dim_qk, kTileDepth);
  g.value_groups = 2 * ceil_div(config.head_dim_v, 32);
  const Int64 key_bytes = static_cast<Int64>(g.parts) * (g.depth_steps * 64 + g.value_groups * 32);
  g.span_keys = static_cast<int>(max_of<Int64>(kPackedBytes / key_bytes / kStepKeys, 1)) * kStepKeys;
  g.chunk_blocks = max_of(1, ceil_div(config.block_q, kBlockRows));
  g.key_part_bytes = static_cast<Int64>(g.span_keys) * g.depth_steps * 64;
  g.value_part_bytes = static_cast<Int64>(g.span_keys) * g.value_groups * 32;
  g.block_o_bytes = kBlockRows * g.o_stride() * 4;
  g.queries_bytes = static_cast<Int64>(g.parts) * g.depth_steps * 2 * kTileBytes;
  return g;
}

/// A block of 32 rows, what it sees, and its state. Rows that see nothing count as seeing all: what they compute is
/// thrown away.
struct Block {
  int num_rows;
  int position[kBlockRows];  // of each row in its sequence
  int head[kBlockRows];
  bool sees[kBlockRows];  // any key
  KeyInterval keys[kBlockRows];
  KeyInterval any;   // keys that at least one row sees
  KeyInterval full;  // keys that every row sees
  float* o;          // (32, o_stride), not yet divided by the sums
  RowSums* sums;
};

/// The scratch of a thread, cut up.
struct Scratch {
  float* scores;
  char* probabilities;
  char* queries;
  RowSums* sums;  // chunk_blocks of each
  Block* blocks;
  float* o;
  char* keys;
  char* values;
  Int64 bytes;
};

static inline Scratch cut_scratch(const Geometry& g, void* memory) {
  Scratch s = {};
  const auto take = [&](Int64 bytes) {
    char* at = static_cast<char*>(memory) + s.bytes;
    s.bytes += (bytes + 63) / 64 * 64;
    return at;
  };
  s.scores = reinterpret_cast<float*>(take(kBlockRows * kScoreStride * 4));
  s.probabilities = take(static_cast<Int64>(g.parts) * kProbabilityPartBytes);
  s.queries = take(g.queries_bytes);
  s.sums = reinterpret_cast<RowSums*>(take(static_cast<Int64>(g.chunk_blocks) * static_cast<Int64>(sizeof(RowSums))));
  s.blocks = reinterpret_cast<Block*>(take(static_cast<Int64>(g.chunk_blocks) * static_cast<Int64>(sizeof(Block))));
  s.o = reinterpret_cast<float*>(take(g.chunk_blocks * g.block_o_bytes));
  s.keys = take(g.parts * g.key_part_bytes);
  s.values = take(g.parts * g.value_part_bytes);
  return s;
}

struct Work {
  const AttentionArgs* args;
  const AttentionTask* task;
  Geometry geometry;
  Scratch scratch;
  SequenceShape shape;
  SequenceMask mask;
  int heads;
  int num_rows;  // flattened
  ScoreScale scale;
  double natural_scale;  // of the stabiliser, for lse
  float cap_factor;      // scores become tanh(cap_factor * score); 0: no softcap
  int query_sign_bits;
  int packed_begin, packed_end;  // keys whose tiles are in the scratch
};

static inline Work work_of(const AttentionArgs& args, const AttentionConfig& config, const AttentionTask& task,
                           void* scratch) {
  Work w = {};
  w.args = &args;
  w.task = &task;
  w.geometry = geometry_of(config);
  w.scratch = cut_scratch(w.geometry, scratch);
  w.shape = sequence_shape(args.query, args.kv, task.batch);
  w.mask = sequence_mask(args.mask, w.shape.seqlen_q, w.shape.seqlen_k);
  w.heads = task.head_end - task.head_begin;
  w.num_rows = w.heads * (task.q_end - task.q_begin);
  const float scale = __builtin_fabsf(args.softmax_scale);
  w.query_sign_bits = args.softmax_scale < 0.0f ? static_cast<int>(0x80008000) : 0;
  w.cap_factor = args.softcap != 0.0f ? scale / args.softcap : 0.0f;
  const float weight = args.softcap != 0.0f ? args.softcap : scale;
  w.natural_scale = weight;
  w.scale.scale_log2 = weight * kLog2E;
  w.scale.slack = kSlack / w.scale.scale_log2;
  w.packed_begin = w.packed_end = -1;
  return w;
}

/// Keys that a position sees within the task; empty past the sequence.
static inline KeyInterval keys_of(const Work& w, int position) {
  if (position >= w.shape.seqlen_q) return {0, 0};
  const KeyInterval keys = visible_keys(w.args->mask.kind, w.mask, position);
  return {max_of(keys.begin, w.task->k_begin), min_of(keys.end, w.task->k_end)};
}

/// Keys that some of the flattened rows [first, past) see.
static inline KeyInterval keys_of_rows(const Work& w, int first, int past) {
  const int q_begin = w.task->q_begin + first / w.heads;
  const int q_end = min_of(w.shape.seqlen_q, w.task->q_begin + (past - 1) / w.heads + 1);
  if (q_begin >= q_end) return {0, 0};
  const KeyInterval keys = tile_keys(w.args->mask.kind, w.mask, q_begin, q_end);
  return {max_of(keys.begin, w.task->k_begin), min_of(keys.end, w.task->k_end)};
}

/// The block's rows and an empty state.
static inline void start_block(const Work& w, int first_row, int num_rows, Block* b) {
  b->num_rows = num_rows;
  b->any = {kMaxSeqlen, 0};
  b->full = {0, kMaxSeqlen};
  int position = w.task->q_begin + first_row / w.heads, head = first_row % w.heads;
  for (int r = 0; r < num_rows; ++r) {
    b->position[r] = position;
    b->head[r] = w.task->head_begin + head;
    const KeyInterval keys = b->keys[r] = keys_of(w, position);
    b->sees[r] = !keys.empty();
    if (++head == w.heads) {
      head = 0;
      ++position;
    }
    if (!b->sees[r]) continue;
    b->any = {min_of(b->any.begin, keys.begin), max_of(b->any.end, keys.end)};
    b->full = {max_of(b->full.begin, keys.begin), min_of(b->full.end, keys.end)};
  }
  for (int r = 0; r < kBlockRows; ++r) {
    if (r >= num_rows || !b->sees[r]) b->keys[r] = b->any;
  }
  __builtin_memset(b->o, 0, static_cast<size_t>(w.geometry.block_o_bytes));
  clear(b->sums);
}

template <typename Element>
static const Element* query_row(const Work& w, int position, int head) {
  const QueryArgs& q = w.args->query;
  return static_cast<const Element*>(q.q) + w.task->batch * q.stride_batch +
         (w.shape.q_first + position) * q.stride_row + head * q.stride_head;
}

template <typename Element>
static Element* output_row(const Work& w, int position, int head) {
  const OutputArgs& o = w.args->output;
  return static_cast<Element*>(o.o) + w.task->batch * o.stride_batch + (w.shape.q_first + position) * o.stride_row +
         head * o.stride_head;
}

/// Packs the block's queries. False if an element is not ordinary (amx_pack.h).
template <typename Element>
static bool pack_block_queries(const Work& w, const Block& b) {
  const Element* rows[kBlockRows] = {};
  for (int r = 0; r < b.num_rows; ++r) {
    if (!b.sees[r]) continue;
    rows[r] = query_row<Element>(w, b.position[r], b.head[r]);
  }
  Magnitudes seen = no_magnitudes();
  pack_queries(rows, kBlockRows, w.args->head_dim_qk, w.geometry.depth_steps, w.query_sign_bits, w.scratch.queries,
               &seen);
  return all_ordinary<Element>(seen);
}

/// Packs the keys and values [begin, end). False if an element is not ordinary.
template <typename Element>
static bool pack_span(Work* w, int begin, int end) {
  const KeyValueDense& kv = w->args->kv;
  const Geometry& g = w->geometry;
  const Int64 head = w->task->head_begin / (w->args->num_heads_q / w->args->num_heads_kv);
  const Int64 row = w->shape.k_first + begin;
  const Element* k = static_cast<const Element*>(kv.k) + w->task->batch * kv.k_stride_batch + head * kv.k_stride_head;
  const Element* v = static_cast<const Element*>(kv.v) + w->task->batch * kv.v_stride_batch + head * kv.v_stride_head;
  Magnitudes seen = no_magnitudes();
  pack_keys(k + row * kv.k_stride_row, kv.k_stride_row, end - begin, w->args->head_dim_qk, g.depth_steps,
            w->scratch.keys, g.key_part_bytes, &seen);
  pack_values(v + row * kv.v_stride_row, kv.v_stride_row, end - begin, w->args->head_dim_v, g.value_groups,
              w->scratch.values, g.value_part_bytes, &seen);
  w->packed_begin = begin;
  w->packed_end = end;
  return all_ordinary<Element>(seen);
}

/// o of rows whose stabiliser moved.
static inline void rescale_rows(const Geometry& g, Block* b) {
  if (!b->sums->any_rescale) return;
  const Int64 stride = g.o_stride();
  for (int r = 0; r < kBlockRows; ++r) {
    if (b->sums->rescale[r] == 1.0f) continue;
    const __m512 factor = _mm512_set1_ps(b->sums->rescale[r]);
    for (float* o = b->o + r * stride; o < b->o + (r + 1) * stride; o += 16) {
      _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), factor));
    }
    b->sums->rescale[r] = 1.0f;
  }
  b->sums->any_rescale = false;
}

template <typename Element>
static void write_row(Element* to, const float* o, float factor, int head_dim) {
  for (int c = 0; c < head_dim; c += 16) {
    avx512::store_row(to + c, _mm512_mul_ps(_mm512_load_ps(o + c), _mm512_set1_ps(factor)), min_of(16, head_dim - c));
  }
}

/// Divides by the sums and writes o and lse, or the task's partial state.
template <typename Element>
static void finish_block(const Work& w, const Block& b) {
  const OutputArgs& out = w.args->output;
  const int head_dim = w.args->head_dim_v;
  for (int r = 0; r < b.num_rows; ++r) {
    const int head = b.head[r], q = b.position[r];
    const float sum = _mm512_reduce_add_ps(_mm512_load_ps(b.sums->sum[r]));
    const float factor = b.sees[r] ? 1.0f / sum : 0.0f;
    const float stabiliser = b.sums->stabiliser[r];
    const auto lse = [&] {
      return b.sees[r] ? static_cast<float>(stabiliser * w.natural_scale + __builtin_log(static_cast<double>(sum)))
                       : -kInfinity;
    };
    const float* o = b.o + r * w.geometry.o_stride();
    if (w.task->partial_o) {
      const Int64 at =
          static_cast<Int64>(head - w.task->head_begin) * (w.task->q_end - w.task->q_begin) + (q - w.task->q_begin);
      write_row(w.task->partial_o + at * head_dim, o, factor, head_dim);
      w.task->partial_lse[at] = lse();
    } else if (q < w.shape.rows_q) {
      write_row(output_row<Element>(w, q, head), o, factor, head_dim);
      if (out.lse) {
        out.lse[w.task->batch * out.lse_stride_batch + head * out.lse_stride_head + w.shape.q_first + q] = lse();
      }
    }
  }
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
