// SPDX-License-Identifier: Apache-2.0
// Exact attention: o = softmax(softmax_scale * q k^T + mask) v, in O(seqlen) memory. Start reading here; docs/tour.md
// walks from attention_forward to the inner loop in four hops.
#pragma once

#include <optional>
#include <string>

#include "fovea/export.h"
#include "fovea/tensor.h"
#include "fovea/types.h"

namespace fovea {

class Runtime;

/// What the call reads and writes.
///
/// Layout kBSHD: q (batch, seqlen_q, num_heads_q, head_dim_qk), k (batch, seqlen_k, num_heads_kv, head_dim_qk),
/// v (batch, seqlen_k, num_heads_kv, head_dim_v), o (batch, seqlen_q, num_heads_q, head_dim_v).
/// Layout kBHSD swaps the two middle dimensions of all four. Layout kTHD: q (total_q, num_heads_q, head_dim_qk) and so
/// on, with cu_seqlens_q and cu_seqlens_k. num_heads_q is a multiple of num_heads_kv. Any strides; the last must be 1.
/// q, k, v and o have one dtype: kF32, kF16 or kBF16.
struct AttentionTensors {
  TensorView q, k, v, o;
  /// Optional: (batch, num_heads_q, seqlen_q), or (num_heads_q, total_q) for kTHD; kF32; natural logarithm of the sum
  /// of exp(scores); -inf for a row that sees no key.
  TensorView lse;
  /// Optional: (batch,) kI32. Sequence b has only its first seq_lens_q[b] queries and seq_lens_k[b] keys; rows of o
  /// past the length are 0 and their lse is -inf. Causal and window masks align to these lengths.
  TensorView seq_lens_q, seq_lens_k;
  /// For kTHD: (batch + 1,) kI32, ascending from 0 to total_q or total_k.
  TensorView cu_seqlens_q, cu_seqlens_k;
  /// Paged keys and values: (batch, pages) kI32 page numbers; k and v are then (pages, page_size, num_heads_kv,
  /// head_dim).
  TensorView page_table;
};

/// Tile sizes that the caller insists on; 0 leaves the choice to the library.
struct AttentionTile {
  int block_q = 0;
  int block_k = 0;
  int stages = 0;
  int warps = 0;
  friend bool operator==(const AttentionTile&, const AttentionTile&) = default;
};

struct AttentionOptions {
  Layout layout = Layout::kBSHD;
  bool causal = false;
  /// Query at key position p sees keys in [p - window_left, p + window_right]; empty is open. With causal, window_right
  /// counts as 0.
  std::optional<int> window_left;
  std::optional<int> window_right;
  MaskAlignment alignment = MaskAlignment::kBottomRight;
  /// Default 1/sqrt(head_dim_qk).
  std::optional<float> softmax_scale;
  /// s -> softcap * tanh(s / softcap) before the mask; 0 is off.
  float softcap = 0.0f;
  /// For kTHD: the longest sequence, if known; 0 lets the call find out (on a GPU it must be given, as reading
  /// cu_seqlens back would synchronise).
  int max_seqlen_q = 0;
  int max_seqlen_k = 0;
  Math math = Math::kExact;
  /// The same bits on every run. The forward kernels always are.
  bool deterministic = true;
  AttentionTile tile;
  /// Run this kernel (a card's name, as fovea explain prints it) or fail; empty takes the first that supports the call.
  std::string kernel;
};

/// Attention over dense, packed or length-limited keys and values. A row that sees no key gives o = 0, lse = -inf.
/// NaN and infinities travel as IEEE says, and never into rows that may not see them.
/// Outputs may not overlap inputs. Throws kInvalidArgument naming the field, kUnsupported with each kernel's reason.
/// Work on a GPU is enqueued on stream; on a CPU it is done when the call returns. Source: arXiv 2205.14135,
/// 2307.08691.
FOVEA_API void attention_forward(const AttentionTensors& tensors, const AttentionOptions& options, Stream stream = {});
FOVEA_API void attention_forward(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options,
                                 Stream stream = {});

/// The plan of a call, and why each other kernel refused: for people. json gives the same for programs.
/// Data pointers are not read, except cu_seqlens on a CPU; null data is allowed.
/// device_architecture ("sm_89", "sm_90a" …) plans for a GPU that need not be there; empty plans for the tensors'
/// device.
FOVEA_API std::string attention_explain(Runtime& runtime, const AttentionTensors& tensors,
                                        const AttentionOptions& options, bool json = false,
                                        const std::string& device_architecture = "");

}  // namespace fovea
