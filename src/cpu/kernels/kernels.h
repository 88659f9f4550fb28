// SPDX-License-Identifier: Apache-2.0
// What each instruction set's unit exports: one table of functions. The units include only this, simd/ and contract/,
// never std templates, so that no inline code of a higher instruction set can leak into the baseline (tools/check_isa
// looks with nm).
#pragma once

#include "contract/attention_args.h"
#include "contract/attention_config.h"

namespace fovea::cpu {

/// kv heads of one task, at most.
inline constexpr int kMaxTaskKvHeads = 32;

/// One piece of work of one thread: rows [q_begin, q_end) of query heads [head_begin, head_end) over keys
/// [k_begin, k_end) of that sequence (cut to the mask by the kernel). The heads are all of one kv head; or, where a kv
/// head has at most attention_decode_rows(dtype) (row, head) pairs in the task, all heads of up to kMaxTaskKvHeads.
struct AttentionTask {
  int batch;
  int head_begin;
  int head_end;
  int q_begin;
  int q_end;
  int k_begin;
  int k_end;
  /// Null: the task sees all keys of its rows and writes o and lse. Else the partial state of the task:
  /// o (heads, rows, head_dim_v) normalised within the task's keys and lse (heads, rows); natural log; fp32,
  /// contiguous.
  float* partial_o;
  float* partial_lse;
};

struct Kernels {
  const char* isa;
  /// Tile sizes for this problem on this instruction set: block_q (row, query head) pairs of one task, so that a task
  /// of all heads of a kv head has block_q / heads rows, and block_k keys of one step. Tasks may be smaller, never
  /// larger. total rows and head counts decide between prefill and decode shapes. Fills config.block_q, block_k.
  void (*attention_tile)(AttentionConfig* config, int seqlen_q, int seqlen_k, int heads_per_kv);
  /// Bytes of 64-byte aligned scratch that a thread needs to run tasks of this config.
  Int64 (*attention_scratch_bytes)(const AttentionConfig& config);
  void (*attention_forward)(const AttentionArgs& args, const AttentionConfig& config, const AttentionTask& task,
                            void* scratch);
  /// (row, query head) pairs of a kv head up to which a task may span several kv heads: all of them read a block of
  /// keys together, in the order of memory.
  int (*attention_decode_rows)(DType dtype);
  /// (row, query head) pairs of the tile inside a task: they go through the keys together, and skip those that none of
  /// them sees.
  int attention_tile_rows;
};

const Kernels& baseline_kernels();
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512bf16_kernels();
const Kernels& amx_kernels();
#endif

}  // namespace fovea::cpu
