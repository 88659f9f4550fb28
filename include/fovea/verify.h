// SPDX-License-Identifier: Apache-2.0
// The definition of right, and the rule by which a result is judged (docs/numerics.md). Slow on purpose, CPU memory
// only.
#pragma once

#include <cstdint>
#include <string>

#include "fovea/attention.h"
#include "fovea/export.h"
#include "fovea/matmul.h"

namespace fovea {

/// Attention in float64 with plain loops. tensors as for attention_forward, on a CPU; o and lse in them are not
/// written, but o, whose data may be null, gives the output's shape. o_exact has o's elements in row-major order;
/// lse_exact, if not null, those of (batch, num_heads_q, seqlen_q), or (num_heads_q, total_q) for Layout::kTHD.
FOVEA_API void attention_reference(const AttentionTensors& tensors, const AttentionOptions& options, double* o_exact,
                                   double* lse_exact);

/// Errors against float64 of an output and of the plain method in the input's precision.
struct Verdict {
  bool passed = false;
  double max_error = 0, plain_max_error = 0, max_limit = 0;
  double rms_error = 0, plain_rms_error = 0, rms_limit = 0;
  std::int64_t rows_checked = 0;
  std::string report;  // several lines for people, with the place of the worst error
};

/// Judges tensors.o, and tensors.lse if it is there, as some method computed them: max error <= 2 x that of the plain
/// method, RMS error <= 1.1 x. About max_rows rows are checked; 0 checks all.
FOVEA_API Verdict attention_verdict(const AttentionTensors& tensors, const AttentionOptions& options,
                                    std::int64_t max_rows = 0);

/// The same for a matrix product: judges tensors.d. c, if given, must still be what it was before d was computed.
FOVEA_API Verdict matmul_verdict(const MatmulTensors& tensors, const MatmulOptions& options, std::int64_t max_rows = 0);

}  // namespace fovea
