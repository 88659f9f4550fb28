// SPDX-License-Identifier: Apache-2.0
// A computed matrix product against float64 and the plain method: used by tests and `fovea verify`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "contract/matmul_args.h"
#include "problem/matmul_problem.h"
#include "verify/compare.h"
#include "verify/tolerance.h"

namespace fovea {

struct MatmulReport {
  Comparison d;
  Tolerance limit;
  std::int64_t rows_checked = 0;
  bool passed = false;
};

/// What float64 and the plain method give for about max_rows rows spread evenly over batch and m (0: all); the first
/// and the last row are always among them. Computed once, before the call where c is d, used for many outputs.
struct ExpectedMatmul {
  struct Row {
    int batch, row;
    std::vector<double> exact, plain;
    std::vector<double> magnitude;  // of e4m3 products
  };
  MatmulProblem problem;
  std::vector<Row> rows;
};
ExpectedMatmul expect_matmul(const MatmulArgs& args, const MatmulProblem& problem, std::int64_t max_rows = 0);

/// d is read through args (host memory), as describe_matmul gave them.
MatmulReport verify_matmul(const MatmulArgs& args, const ExpectedMatmul& expected);

/// Several lines: errors, ratios, limits, and the place of the worst error.
std::string to_string(const MatmulReport& report);

}  // namespace fovea
