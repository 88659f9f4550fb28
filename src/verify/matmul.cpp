// SPDX-License-Identifier: Apache-2.0
#include "verify/matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "reference/element.h"
#include "reference/matmul.h"
#include "verify/report.h"

namespace fovea {

ExpectedMatmul expect_matmul(const MatmulArgs& args, const MatmulProblem& problem, std::int64_t max_rows) {
  ExpectedMatmul expected{problem, {}};
  const std::int64_t all = std::int64_t{args.batch} * args.m;
  const std::int64_t count = max_rows > 0 ? std::min(std::max<std::int64_t>(max_rows, 2), all) : all;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = count > 1 ? i * (all - 1) / (count - 1) : 0;
    const auto batch = static_cast<int>(at / args.m), row = static_cast<int>(at % args.m);
    expected.rows.push_back(
        {batch, row, reference_matmul_row(args, problem, batch, row), plain_matmul_row(args, problem, batch, row)});
  }
  return expected;
}

MatmulReport verify_matmul(const MatmulArgs& args, const ExpectedMatmul& expected) {
  MatmulReport report;
  const DType dtype = expected.problem.d_dtype;
  for (const ExpectedMatmul::Row& r : expected.rows) {
    const Int64 d = batch_offset(args, args.d_stride_batch, r.batch) + r.row * args.d_stride_row;
    for (int i = 0; i < args.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      report.d.add({r.batch, 0, r.row, i}, r.exact[at], r.plain[at],
                   load_element(args.d, dtype, d + i * args.d_stride_col));
    }
    ++report.rows_checked;
  }
  report.limit = tolerance_of(report.d, dtype);
  report.passed = passes(report.d, report.limit);
  return report;
}

std::string to_string(const MatmulReport& report) {
  return comparison_text("d", report.d, report.limit, "") +
         fmt::format("     {} rows checked: {}\n", report.rows_checked, report.passed ? "pass" : "FAIL");
}

}  // namespace fovea
