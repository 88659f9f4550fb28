// SPDX-License-Identifier: Apache-2.0
// Tensors + options -> problem: every check of a call's arguments is made here, once, for every kernel and device.
#pragma once

#include "fovea/attention.h"
#include "problem/attention_problem.h"
#include "problem/tensor_checks.h"

namespace fovea {

/// Checks the call and says what is asked. Data pointers are not read, except cu_seqlens of a CPU call (to find the
/// longest sequence and to check that it ascends), and null data is allowed unless require_data.
/// Throws kInvalidArgument naming the field.
AttentionProblem describe_attention(const AttentionTensors& tensors, const AttentionOptions& options,
                                    bool require_data = true);

/// A (batch, seqlen, num_heads, head_dim) reading of a user's tensor in any layout: batch = 1 and seqlen = total for
/// kTHD.
struct TensorRows {
  std::int64_t batch, seqlen, num_heads, head_dim;
  std::int64_t stride_batch, stride_row, stride_head;
};
TensorRows rows_of(const TensorView& tensor, Layout layout);

}  // namespace fovea
