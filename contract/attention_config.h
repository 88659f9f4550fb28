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
  friend constexpr bool operator==(const AttentionConfig&, const AttentionConfig&) = default;
};

}  // namespace fovea
