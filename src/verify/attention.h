// SPDX-License-Identifier: Apache-2.0
// A computed attention output against float64 and the plain method: used by tests, `fovea verify`, `fovea demo`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "contract/attention_args.h"
#include "reference/attention.h"
#include "verify/compare.h"
#include "verify/tolerance.h"

namespace fovea {

struct AttentionReport {
  Comparison o, lse;
  Tolerance o_limit, lse_limit;
  std::int64_t rows_checked = 0;
  bool passed = false;
};

/// Which rows to check: all of them, or about max_rows spread evenly over batch, heads and queries (0 = all). The first
/// and last row of every sequence and head that is sampled are always among them.
struct RowSample {
  std::int64_t max_rows = 0;
};

/// What float64 and the plain method give for the sampled rows: computed once, used for many outputs of one problem.
struct ExpectedAttention {
  struct Row {
    int batch, head, row;
    ReferenceRow exact, plain;
  };
  DType dtype = DType::kF32;
  std::vector<Row> rows;
};
ExpectedAttention expect_attention(const AttentionArgs& args, DType dtype, RowSample sample = {});

/// args as the kernel got them; o and lse are read through args.output (host memory).
AttentionReport verify_attention(const AttentionArgs& args, const ExpectedAttention& expected);
AttentionReport verify_attention(const AttentionArgs& args, DType dtype, RowSample sample = {});

/// Several lines: errors, ratios, limits, and the place of the worst error.
std::string to_string(const AttentionReport& report);

}  // namespace fovea
