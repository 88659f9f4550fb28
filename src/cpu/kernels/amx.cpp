// SPDX-License-Identifier: Apache-2.0
// Attention forward with AMX tiles: scores = q k^T and o += p v as bf16 products with fp32 sums, softmax in AVX-512.
// bf16 is one part, fp16 two, fp32 three (amx_pack.h), so the three types share this code. A task's rows of all heads
// of a kv head are flattened, position first; keys and values are packed into tiles once per chunk of rows and stay in
// the L2 cache. Memory layout, ladder of measurements and limits: docs/kernels/attention_forward_amx.md.
#include "cpu/kernels/kernels.h"

#if defined(__x86_64__)
#include "cpu/kernels/amx_pack.h"
#include "cpu/kernels/amx_products.h"
#include "cpu/kernels/amx_softmax.h"
#include "cpu/kernels/amx_tiles.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu {
namespace amx {
namespace {

/// Bytes of packed keys and values together: half of the smallest L2 cache beside AMX (2 MiB).
constexpr Int64 kPackedBytes = 1 << 20;

/// Rows of a task that share packed keys and values: packing costs about 12 cycles a key, 512 rows of products and
/// softmax some 150.
constexpr int kChunkRows = 512;

/// Fewer rows would leave most of a tile of 16 empty.
constexpr int kMinRows = 9;

constexpr Int64 round_to(Int64 x, Int64 multiple) { return (x + multiple - 1) / multiple * multiple; }

/// Sizes that follow from the config alone.
struct Geometry {
  int parts;
  int depth_steps;   // of 32 elements of head_dim_qk
  int value_groups;  // of 16 columns of head_dim_v; even
  int span_keys;     // keys that are packed at a time, a multiple of kStepKeys
  int chunk_blocks;  // blocks of 32 rows that share them
  Int64 key_part_bytes, value_part_bytes, value_group_bytes, block_o_bytes, queries_bytes;
};

Geometry geometry_of(const AttentionConfig& config) {
  Geometry g = {};
  g.parts = config.dtype == DType::kBF16 ? 1 : config.dtype == DType::kF16 ? 2 : 3;
  g.depth_steps = ceil_div(config.head_dim_qk, kTileDepth);
  g.value_groups = 2 * ceil_div(config.head_dim_v, 32);
  const Int64 key_bytes = static_cast<Int64>(g.parts) * (g.depth_steps * 64 + g.value_groups * 32);
  g.span_keys = static_cast<int>(max_of<Int64>(kPackedBytes / key_bytes / kStepKeys, 1)) * kStepKeys;
  g.chunk_blocks = max_of(1, ceil_div(config.block_q, kBlockRows));
  g.key_part_bytes = static_cast<Int64>(g.span_keys) * g.depth_steps * 64;
  g.value_part_bytes = static_cast<Int64>(g.span_keys) * g.value_groups * 32;
  g.value_group_bytes = static_cast<Int64>(g.value_groups) * kTileBytes;
  g.block_o_bytes = static_cast<Int64>(kBlockRows) * g.value_groups * 16 * 4;
  g.queries_bytes = static_cast<Int64>(g.parts) * g.depth_steps * 2 * kTileBytes;
  return g;
}

/// The scratch of a thread, cut up. All parts are multiples of 64 bytes.
struct Scratch {
  char* keys;
  char* values;
  char* queries;
  char* probabilities;
  float* scores;
  float* o;       // chunk_blocks blocks of (32, 16 * value_groups)
  RowSums* sums;  // chunk_blocks
  Int64 bytes;
};

Scratch cut_scratch(const Geometry& g, void* memory) {
  Scratch s = {};
  const auto take = [&](Int64 bytes) {
    char* at = static_cast<char*>(memory) + s.bytes;
    s.bytes += round_to(bytes, 64);
    return at;
  };
  s.scores = reinterpret_cast<float*>(take(kBlockRows * kStepKeys * 4));
  s.probabilities = take(static_cast<Int64>(g.parts) * kProbabilityPartBytes);
  s.queries = take(g.queries_bytes);
  s.sums = reinterpret_cast<RowSums*>(take(static_cast<Int64>(g.chunk_blocks) * static_cast<Int64>(sizeof(RowSums))));
  s.o = reinterpret_cast<float*>(take(g.chunk_blocks * g.block_o_bytes));
  s.keys = take(g.parts * g.key_part_bytes);
  s.values = take(g.parts * g.value_part_bytes);
  return s;
}

/// One task in the terms of its sequence: where rows lie, and the rule of what they see.
struct Work {
  const AttentionArgs* args;
  const AttentionTask* task;
  Geometry geometry;
  Scratch scratch;
  SequenceShape shape;
  SequenceMask mask;
  int heads;
  int num_rows;  // flattened: row r is position q_begin + r / heads of head head_begin + r % heads
  ScoreScale scale;
  double natural_scale;  // of the stabiliser, for lse
  float cap_factor;      // scores become tanh(cap_factor * score); 0: no softcap
  int query_sign_bits;
  int packed_begin, packed_end;  // keys whose tiles are in the scratch
};

int position_of(const Work& w, int row) { return w.task->q_begin + row / w.heads; }
int head_of(const Work& w, int row) { return w.task->head_begin + row % w.heads; }

/// Keys that a flattened row sees within the task; empty for a row past the sequence.
KeyInterval row_keys(const Work& w, int row) {
  const int q = position_of(w, row);
  if (q >= w.shape.seqlen_q) return {0, 0};
  const KeyInterval keys = visible_keys(w.args->mask.kind, w.mask, q);
  return {max_of(keys.begin, w.task->k_begin), min_of(keys.end, w.task->k_end)};
}

/// A block of 32 rows and what it sees. Rows that see nothing count as seeing all: what they compute is thrown away.
struct Block {
  int first_row;
  int num_rows;
  KeyInterval keys[kBlockRows];
  KeyInterval any;   // keys that at least one row sees
  KeyInterval full;  // keys that every row sees
};

Block block_of(const Work& w, int first_row) {
  Block b = {};
  b.first_row = first_row;
  b.num_rows = min_of(kBlockRows, w.num_rows - first_row);
  b.any = {kMaxSeqlen, 0};
  b.full = {0, kMaxSeqlen};
  for (int r = 0; r < b.num_rows; ++r) {
    b.keys[r] = row_keys(w, first_row + r);
    if (b.keys[r].empty()) continue;
    b.any = {min_of(b.any.begin, b.keys[r].begin), max_of(b.any.end, b.keys[r].end)};
    b.full = {max_of(b.full.begin, b.keys[r].begin), min_of(b.full.end, b.keys[r].end)};
  }
  for (int r = 0; r < kBlockRows; ++r) {
    if (b.keys[r].empty()) b.keys[r] = b.any;
  }
  return b;
}

template <typename Element>
const Element* query_row(const Work& w, int row) {
  const QueryArgs& q = w.args->query;
  return static_cast<const Element*>(q.q) + w.task->batch * q.stride_batch +
         (w.shape.q_first + position_of(w, row)) * q.stride_row + head_of(w, row) * q.stride_head;
}

/// Packs the keys and values [begin, end). False if an element is not ordinary (amx_pack.h).
template <typename Element>
bool pack_span(Work* w, int begin, int end) {
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

template <typename Element>
bool pack_block_queries(const Work& w, const Block& b) {
  const Element* rows[kBlockRows] = {};
  for (int r = 0; r < b.num_rows; ++r) {
    if (!row_keys(w, b.first_row + r).empty()) rows[r] = query_row<Element>(w, b.first_row + r);
  }
  Magnitudes seen = no_magnitudes();
  pack_queries(rows, kBlockRows, w.args->head_dim_qk, w.geometry.depth_steps, w.query_sign_bits, w.scratch.queries,
               &seen);
  return all_ordinary<Element>(seen);
}

/// o of rows whose stabiliser moved.
void rescale_rows(float* o, Int64 stride, RowSums* sums) {
  if (!sums->any_rescale) return;
  for (int r = 0; r < kBlockRows; ++r) {
    if (sums->rescale[r] == 1.0f) continue;
    const __m512 factor = _mm512_set1_ps(sums->rescale[r]);
    for (int c = 0; c < stride; c += 16) {
      _mm512_store_ps(o + r * stride + c, _mm512_mul_ps(_mm512_load_ps(o + r * stride + c), factor));
    }
    sums->rescale[r] = 1.0f;
  }
  sums->any_rescale = false;
}

/// Scores, softmax and values of one block and the keys [begin, end) of one step that starts at key `step`;
/// begin and end count from step and are cut to what the block sees.
template <int parts, bool wants_lse>
__attribute__((noinline)) void run_step(const Work& w, const Block& b, int step, int begin, int end, float* o,
                                        RowSums* sums) {
  const Geometry& g = w.geometry;
  const Scratch& s = w.scratch;
  const int group_begin = begin / 32, group_end = ceil_div(end, 32);
  const Int64 offset = step - w.packed_begin;
  const char* keys = s.keys + offset * g.depth_steps * 64;
  const char* values = s.values + offset * g.value_groups * 32;
  for (int i = group_begin; i < group_end; ++i) {
    multiply_queries_keys<parts>(s.queries, keys + static_cast<Int64>(i) * g.depth_steps * 2 * kTileBytes,
                                 g.key_part_bytes, g.depth_steps, s.scores + i * 32);
  }
  const bool full = b.full.contains(step, step + kStepKeys);
  for (int r = 0; r < kBlockRows; ++r) {
    float* row = s.scores + r * kStepKeys;
    if (w.cap_factor != 0.0f) cap_scores(row, group_begin * 32, group_end * 32, w.cap_factor);
    if (full) {
      softmax_row<parts, wants_lse>(row, s.probabilities, sums, r, w.scale);
    } else {
      softmax_row_masked<parts, wants_lse>(row, s.probabilities, sums, r, w.scale, b.keys[r].begin - step,
                                           b.keys[r].end - step, group_begin, group_end);
    }
  }
  const Int64 stride = g.value_groups * 16;
  rescale_rows(o, stride, sums);
  for (int c = 0; c < g.value_groups; c += 2) {
    multiply_probabilities_values<parts>(s.probabilities, values + c * kTileBytes, g.value_part_bytes,
                                         g.value_group_bytes, group_begin, group_end, o + c * 16, stride);
  }
}

void store_row(Bfloat16* to, __m512 x, int n) { avx512::store_row(to, x, n); }
void store_row(Half* to, __m512 x, int n) { avx512::store_row(to, x, n); }
void store_row(float* to, __m512 x, int n) { avx512::store_row(to, x, n); }

template <typename Element>
void write_row(Element* to, const float* o, float factor, int head_dim) {
  for (int c = 0; c < head_dim; c += 16) {
    store_row(to + c, _mm512_mul_ps(_mm512_load_ps(o + c), _mm512_set1_ps(factor)), min_of(16, head_dim - c));
  }
}

/// Divides by the sums and writes o and lse, or the task's partial state.
template <typename Element>
void finish_block(const Work& w, const Block& b, const float* o, const RowSums& sums) {
  const OutputArgs& out = w.args->output;
  const Int64 stride = w.geometry.value_groups * 16;
  const int head_dim = w.args->head_dim_v;
  for (int r = 0; r < b.num_rows; ++r) {
    const int row = b.first_row + r, head = head_of(w, row), q = position_of(w, row);
    const bool sees = !row_keys(w, row).empty();
    const float sum = _mm512_reduce_add_ps(_mm512_load_ps(sums.sum[r]));
    const float factor = sees ? 1.0f / sum : 0.0f;
    const double lse =
        sees ? sums.stabiliser[r] * w.natural_scale + __builtin_log(static_cast<double>(sum)) : -kInfinity;
    if (w.task->partial_o) {
      const Int64 rows = w.task->q_end - w.task->q_begin;
      const Int64 at = (head - w.task->head_begin) * rows + (q - w.task->q_begin);
      write_row(w.task->partial_o + at * head_dim, o + r * stride, factor, head_dim);
      w.task->partial_lse[at] = static_cast<float>(lse);
    } else if (q < w.shape.rows_q) {
      write_row(static_cast<Element*>(out.o) + w.task->batch * out.stride_batch +
                    (w.shape.q_first + q) * out.stride_row + head * out.stride_head,
                o + r * stride, factor, head_dim);
      if (out.lse) {
        out.lse[w.task->batch * out.lse_stride_batch + head * out.lse_stride_head + w.shape.q_first + q] =
            static_cast<float>(lse);
      }
    }
  }
}

void clear_block(const Work& w, float* o, RowSums* sums) {
  __builtin_memset(o, 0, static_cast<size_t>(w.geometry.block_o_bytes));
  __builtin_memset(sums->sum, 0, sizeof(sums->sum));
  for (int r = 0; r < kBlockRows; ++r) {
    sums->stabiliser[r] = sums->limit[r] = -kInfinity;
    sums->rescale[r] = 1.0f;
  }
  sums->any_rescale = false;
}

/// The blocks of one chunk of rows: all steps, span by span. False if an element is not ordinary.
template <typename Element>
bool run_chunk(Work* w, int first_row, int past_row) {
  const Geometry& g = w->geometry;
  KeyInterval any = {kMaxSeqlen, 0};
  for (int row = first_row, i = 0; row < past_row; row += kBlockRows, ++i) {
    const Block b = block_of(*w, row);
    if (!b.any.empty()) any = {min_of(any.begin, b.any.begin), max_of(any.end, b.any.end)};
    clear_block(*w, w->scratch.o + i * g.block_o_bytes / 4, w->scratch.sums + i);
  }
  for (int span = any.begin / kStepKeys * kStepKeys; span < any.end; span += g.span_keys) {
    const int span_end = min_of(any.end, span + g.span_keys);
    if (w->packed_begin != span || w->packed_end < span_end) {
      if (!pack_span<Element>(w, max_of(span, 0), span_end)) return false;
    }
    for (int row = first_row, i = 0; row < past_row; row += kBlockRows, ++i) {
      const Block b = block_of(*w, row);
      const int begin = max_of(b.any.begin, span), end = min_of(b.any.end, span_end);
      if (begin >= end) continue;
      if (!pack_block_queries<Element>(*w, b)) return false;
      for (int step = begin / kStepKeys * kStepKeys; step < end; step += kStepKeys) {
        const auto run = w->args->output.lse ? run_step<kParts<Element>, true> : run_step<kParts<Element>, false>;
        run(*w, b, step, max_of(begin - step, 0), min_of(end - step, kStepKeys), w->scratch.o + i * g.block_o_bytes / 4,
            w->scratch.sums + i);
      }
    }
  }
  for (int row = first_row, i = 0; row < past_row; row += kBlockRows, ++i) {
    finish_block<Element>(*w, block_of(*w, row), w->scratch.o + i * g.block_o_bytes / 4, w->scratch.sums[i]);
  }
  return true;
}

template <typename Element>
bool run_task(Work* w) {
  const int chunk = w->geometry.chunk_blocks * kBlockRows;
  tile_configure();
  bool done = true;
  // Last chunk first: under a causal mask it needs the most keys, and the others find them packed.
  for (int first = (w->num_rows - 1) / chunk * chunk; first >= 0 && done; first -= chunk) {
    done = run_chunk<Element>(w, first, min_of(first + chunk, w->num_rows));
  }
  tile_release();
  return done;
}

Work work_of(const AttentionArgs& args, const AttentionConfig& config, const AttentionTask& task, void* scratch) {
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

/// The same task on AVX-512: exact for every value, and faster for a few rows.
void forward_vector(const AttentionArgs& args, AttentionConfig config, const AttentionTask& task, void* scratch) {
  const Kernels& kernels = avx512_kernels();
  kernels.attention_tile(&config, args.query.seqlen, args.kv.seqlen, args.num_heads_q / args.num_heads_kv);
  kernels.attention_forward(args, config, task, scratch);
}

void attention_forward(const AttentionArgs& args, const AttentionConfig& config, const AttentionTask& task,
                       void* scratch) {
  Work w = work_of(args, config, task, scratch);
  bool done = false;
  if (w.num_rows >= kMinRows) {
    switch (config.dtype) {
      case DType::kBF16: done = run_task<Bfloat16>(&w); break;
      case DType::kF16: done = run_task<Half>(&w); break;
      default: done = run_task<float>(&w); break;
    }
  }
  if (!done) forward_vector(args, config, task, scratch);
}

Int64 attention_scratch_bytes(const AttentionConfig& config) {
  AttentionConfig vector = config;
  avx512_kernels().attention_tile(&vector, config.block_q, config.block_k, 1);
  return max_of(cut_scratch(geometry_of(config), nullptr).bytes, avx512_kernels().attention_scratch_bytes(vector));
}

void attention_tile(AttentionConfig* config, int seqlen_q, int, int heads_per_kv) {
  const Int64 rows = static_cast<Int64>(seqlen_q) * heads_per_kv;
  config->block_q = static_cast<int>(min_of<Int64>(kChunkRows, max_of<Int64>(round_to(rows, kBlockRows), kBlockRows)));
  config->block_k = kStepKeys;
}

constexpr Kernels kTable = {"amx", attention_tile, attention_scratch_bytes, attention_forward};

}  // namespace
}  // namespace amx
}  // namespace fovea::cpu
FOVEA_ISA_END

namespace fovea::cpu {

const Kernels& amx_kernels() { return amx::kTable; }

}  // namespace fovea::cpu
#endif  // __x86_64__
