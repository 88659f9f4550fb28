// SPDX-License-Identifier: Apache-2.0
// The run-time half of how attention is computed: the parameter block of a kernel, built of small parts.
// Strides count elements; every offset outside a tile is 64-bit. The layout of the user's tensors is gone here: only
// strides are left. For packed sequences stride_batch is 0 and cu_seqlens gives the first row of each sequence.
#pragma once

#include "contract/mask.h"

namespace fovea {

struct QueryArgs {
  const void* q = nullptr;
  Int64 stride_batch = 0, stride_row = 0, stride_head = 0;
  int seqlen = 0;                   // of the longest sequence
  const int* cu_seqlens = nullptr;  // (batch + 1), packed only
  const int* seq_lens = nullptr;    // (batch), valid rows of each sequence
};

struct KeyValueDense {
  const void* k = nullptr;
  const void* v = nullptr;
  Int64 k_stride_batch = 0, k_stride_row = 0, k_stride_head = 0;
  Int64 v_stride_batch = 0, v_stride_row = 0, v_stride_head = 0;
  int seqlen = 0;
  const int* cu_seqlens = nullptr;
  const int* seq_lens = nullptr;
};

struct OutputArgs {
  void* o = nullptr;
  Int64 stride_batch = 0, stride_row = 0, stride_head = 0;
  float* lse = nullptr;  // row stride 1
  Int64 lse_stride_batch = 0, lse_stride_head = 0;
};

/// Where partial states go when the keys of one row are split: o (splits, batch, num_heads_q, seqlen_q, head_dim_v)
/// normalised within the split, lse (splits, batch, num_heads_q, seqlen_q), both fp32 and contiguous.
struct SplitArgs {
  int num_splits = 1;
  float* partial_o = nullptr;
  float* partial_lse = nullptr;
};

struct AttentionArgs {
  QueryArgs query;
  KeyValueDense kv;
  OutputArgs output;
  SplitArgs split;
  MaskRule mask;
  int batch = 0;
  int num_heads_q = 0;
  int num_heads_kv = 0;
  int head_dim_qk = 0;
  int head_dim_v = 0;
  float softmax_scale = 1.0f;
  float softcap = 0.0f;
  /// GPU kernels, causal: row groups (heads of all sequences) that are worked off together, longest tiles first, so
  /// that short tiles fill the end and what they read again is still in L2.
  int section_heads = 1;
};

/// One sequence of the batch: where its rows begin and how many there are.
struct SequenceShape {
  Int64 q_first;  // row of the tensor (packed) or 0
  Int64 k_first;
  int seqlen_q;  // valid rows
  int seqlen_k;
  int rows_q;  // rows that exist in the output; rows in [seqlen_q, rows_q) are written as zeros
};

HOST_DEVICE constexpr SequenceShape sequence_shape(const QueryArgs& query, const KeyValueDense& kv, int b) {
  SequenceShape s = {0, 0, query.seqlen, kv.seqlen, query.seqlen};
  if (query.cu_seqlens) {
    s.q_first = query.cu_seqlens[b];
    s.rows_q = s.seqlen_q = query.cu_seqlens[b + 1] - query.cu_seqlens[b];
  }
  if (kv.cu_seqlens) {
    s.k_first = kv.cu_seqlens[b];
    s.seqlen_k = kv.cu_seqlens[b + 1] - kv.cu_seqlens[b];
  }
  if (query.seq_lens) s.seqlen_q = max_of(0, min_of(s.seqlen_q, query.seq_lens[b]));
  if (kv.seq_lens) s.seqlen_k = max_of(0, min_of(s.seqlen_k, kv.seq_lens[b]));
  return s;
}

}  // namespace fovea
