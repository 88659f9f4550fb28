// SPDX-License-Identifier: Apache-2.0
// The definition of right: attention row by row with plain loops. Slow on purpose; every kernel is judged by it.
#pragma once

#include <vector>

#include "contract/attention_args.h"
#include "fovea/types.h"
#include "reference/element.h"

namespace fovea {

/// One row of the output: query row `row` of sequence `batch` and query head `head`.
struct ReferenceRow {
  std::vector<double> o;  // head_dim_v
  double lse = 0.0;       // natural logarithm; -inf if no key is visible
};

/// The exact result in float64 (inputs taken as the dtype holds them). A row past the sequence's length, and a row that
/// sees no key, is o = 0, lse = -inf. Reads only keys that the row sees.
ReferenceRow reference_attention_row(const AttentionArgs& args, DType dtype, int batch, int head, int row);

/// The plain method in the input's precision, against which errors are measured: scores, softmax and output with fp32
/// arithmetic in index order; for 16-bit inputs the probabilities and the output are rounded to the input's dtype, as
/// the three-step computation with 16-bit matrix units does. lse in fp32.
ReferenceRow plain_attention_row(const AttentionArgs& args, DType dtype, int batch, int head, int row);

}  // namespace fovea
