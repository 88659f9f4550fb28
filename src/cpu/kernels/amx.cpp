// SPDX-License-Identifier: Apache-2.0
// Attention forward with AMX tiles: scores = q k^T and o += p v as bf16 products with fp32 sums, softmax in AVX-512.
// Denormal bf16 inputs count as zero there; what else tiles cannot represent runs on the AVX-512 unit.
// bf16 is one part, fp16 two, fp32 three (amx_pack.h), so the three types share this code. Keys and values are packed
// into tiles once per task, span by span, and stay in the L2 cache; a step (32 rows x 128 keys) does products, softmax
// and products one after the other, with scores and p in L1. Overlapping them was slower in every form tried.
// Steps of the way here, measurements and limits: docs/kernels/attention_forward_amx.md.
#include "cpu/kernels/kernels.h"

#if defined(__x86_64__)
#include "cpu/kernels/amx_products.h"
#include "cpu/kernels/amx_softmax.h"
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/amx_work.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {
namespace {

/// Rows of a task, which share packed keys and values: packing costs a few percent of 512 rows' work.
constexpr int kTaskRows = 2048;

/// Fewer rows in a task run faster on AVX-512, which does not pack (measured at head_dim 128, 4096 keys).
constexpr int min_rows(DType dtype) { return dtype == DType::kBF16 ? 12 : 24; }

int attention_decode_rows(DType dtype) {
  return min_of(min_rows(dtype) - 1, avx512_kernels().attention_decode_rows(dtype));
}

/// Groups of 32 keys of the step at `key` that a row of a block sees.
struct Groups {
  int begin, end;
};

template <int parts>
FOVEA_WORD void make_scores(const Work& w, int key, Groups groups) {
  const Geometry& g = w.geometry;
  const Scratch& s = w.scratch;
  const Int64 group_bytes = g.depth_steps * Int64{2 * kTileBytes};
  const char* keys = s.keys + (key - w.packed_begin) / 32 * group_bytes;
  Operands x = {};
  x.a = s.queries;
  x.a_step = 2 * kTileBytes;
  x.a_part = g.depth_steps * x.a_step;
  x.b_step = kTileBytes;
  x.b_second = g.depth_steps * kTileBytes;
  x.b_part = g.key_part_bytes;
  x.steps = g.depth_steps;
  for (int i = groups.begin; i < groups.end; ++i) {
    x.b = keys + i * group_bytes;
    multiply_block<score_pairs(parts), false>(x, s.scores + i * 32, kScoreStride * sizeof(float));
  }
}

template <int parts>
FOVEA_WORD void add_values(const Work& w, int key, Groups groups, float* o) {
  const Geometry& g = w.geometry;
  const Scratch& s = w.scratch;
  Operands x = {};
  x.b_step = g.value_groups * kTileBytes;
  const char* values = s.values + (key - w.packed_begin) / 32 * x.b_step;
  x.a = s.probabilities + groups.begin * 2 * kTileBytes;
  x.a_step = 2 * kTileBytes;
  x.a_part = kProbabilityPartBytes;
  x.b_second = kTileBytes;
  x.b_part = g.value_part_bytes;
  x.steps = groups.end - groups.begin;
  for (int c = 0; c < g.value_groups; c += 2) {
    x.b = values + groups.begin * x.b_step + c * kTileBytes;
    multiply_block<value_pairs(parts), true>(x, o + c * 16, g.o_stride() * static_cast<Int64>(sizeof(float)));
  }
}

/// Scores, softmax and values of one block and the groups of the step at `key`.
template <int parts, bool wants_lse>
__attribute__((noinline)) void run_step(const Work& w, Block* b, int key, Groups groups) {
  make_scores<parts>(w, key, groups);
  const bool full = w.cap_factor == 0.0f && b->full.contains(key, key + kStepKeys);
  for (int r = 0; r < kBlockRows; ++r) {
    float* scores = w.scratch.scores + r * kScoreStride;
    if (full) {
      softmax_row<parts, wants_lse>(scores, w.scratch.probabilities, b->sums, r, w.scale);
    } else {
      if (w.cap_factor != 0.0f) cap_scores(scores, groups.begin * 32, groups.end * 32, w.cap_factor);
      softmax_row_masked<parts, wants_lse>(scores, w.scratch.probabilities, b->sums, r, w.scale, b->keys[r].begin - key,
                                           b->keys[r].end - key, groups.begin, groups.end);
    }
  }
  rescale_rows(w.geometry, b);
  add_values<parts>(w, key, groups, b->o);
}

/// All steps of a block over the packed keys. False if a query is not ordinary.
template <typename Element>
bool run_block(const Work& w, Block* b) {
  const auto run = w.args->output.lse ? run_step<kParts<Element>, true> : run_step<kParts<Element>, false>;
  const int begin = max_of(b->any.begin, w.packed_begin), end = min_of(b->any.end, w.packed_end);
  if (begin >= end) return true;
  if (!pack_block_queries<Element>(w, *b)) return false;
  for (int key = begin / kStepKeys * kStepKeys; key < end; key += kStepKeys) {
    run(w, b, key, {max_of(begin - key, 0) / 32, ceil_div(min_of(end - key, kStepKeys), 32)});
  }
  return true;
}

/// One chunk of rows: its keys are packed and used span by span. With one span a block's state is needed only while the
/// block runs, and all share the first. False if an element is not ordinary.
template <typename Element>
bool run_chunk(Work* w, int first_row, int past_row) {
  const Geometry& g = w->geometry;
  const KeyInterval keys = keys_of_rows(*w, first_row, past_row);
  const int begin = keys.begin / kStepKeys * kStepKeys;
  const int spans = max_of(1, ceil_div(max_of(keys.end, begin) - begin, g.span_keys));
  for (int span = 0; span < spans; ++span) {
    const int span_begin = begin + span * g.span_keys, span_end = min_of(keys.end, span_begin + g.span_keys);
    if (span_begin < span_end && (w->packed_begin != span_begin || w->packed_end < span_end)) {
      if (!pack_span<Element>(w, span_begin, span_end)) return false;
    }
    for (int row = first_row, i = 0; row < past_row; row += kBlockRows, ++i) {
      Block* b = w->scratch.blocks + (spans == 1 ? 0 : i);
      if (span == 0) {
        b->o = w->scratch.o + (b - w->scratch.blocks) * g.block_o_bytes / 4;
        b->sums = w->scratch.sums + (b - w->scratch.blocks);
        start_block(*w, row, min_of(kBlockRows, past_row - row), b);
      }
      if (!run_block<Element>(*w, b)) return false;
      if (span == spans - 1) finish_block<Element>(*w, *b);
    }
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
  const bool has_one_kv_head = task.head_end - task.head_begin <= args.num_heads_q / args.num_heads_kv;
  if (has_one_kv_head && w.num_rows >= min_rows(config.dtype)) {
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
  config->block_q =
      rows >= kTaskRows ? kTaskRows : max_of(1, ceil_div(static_cast<int>(rows), kBlockRows)) * kBlockRows;
  config->block_k = kStepKeys;
}

constexpr Kernels kTable = {
    "amx", attention_tile, attention_scratch_bytes, attention_forward, attention_decode_rows, kBlockRows};

}  // namespace
}  // namespace fovea::cpu::amx
FOVEA_ISA_END

namespace fovea::cpu {
const Kernels& amx_kernels() { return amx::kTable; }
}  // namespace fovea::cpu
#endif  // __x86_64__
