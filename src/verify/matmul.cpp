// SPDX-License-Identifier: Apache-2.0
#include "verify/matmul.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reference/element.h"
#include "reference/matmul.h"
#include "verify/report.h"

namespace fovea {

namespace {

/// In units of the sum of a row's absolute products (docs/numerics.md).
constexpr double kE4m3MaxError = 0x1p-10, kE4m3RmsError = 0x1p-12;

struct Magnitudes {
  double max = 0, sum_squared = 0;
  std::int64_t count = 0;
  void add(double x) {
    if (!std::isfinite(x)) return;
    max = std::max(max, x), sum_squared += x * x, ++count;
  }
  double rms() const { return count > 0 ? std::sqrt(sum_squared / static_cast<double>(count)) : 0.0; }
};

}  // namespace

ExpectedMatmul expect_matmul(const MatmulArgs& args, const MatmulProblem& problem, std::int64_t max_rows) {
  ExpectedMatmul expected{problem, {}};
  const std::int64_t all = std::int64_t{args.batch} * args.m;
  const std::int64_t count = max_rows > 0 ? std::min(std::max<std::int64_t>(max_rows, 2), all) : all;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = count > 1 ? i * (all - 1) / (count - 1) : 0;
    const auto batch = static_cast<int>(at / args.m), row = static_cast<int>(at % args.m);
    expected.rows.push_back(
        {batch, row, reference_matmul_row(args, problem, batch, row), plain_matmul_row(args, problem, batch, row),
         problem.dtype == DType::kE4M3 ? matmul_magnitude_row(args, problem, batch, row) : std::vector<double>()});
  }
  return expected;
}

MatmulReport verify_matmul(const MatmulArgs& args, const ExpectedMatmul& expected) {
  MatmulReport report;
  const DType dtype = expected.problem.d_dtype;
  Magnitudes magnitudes;
  for (const ExpectedMatmul::Row& r : expected.rows) {
    const Int64 d = batch_offset(args, args.d_stride_batch, r.batch) + r.row * args.d_stride_row;
    for (int i = 0; i < args.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      report.d.add({r.batch, 0, r.row, i}, r.exact[at], r.plain[at],
                   load_element(args.d, dtype, d + i * args.d_stride_col));
    }
    for (const double x : r.magnitude) magnitudes.add(x);
    ++report.rows_checked;
  }
  report.limit = tolerance_of(report.d, dtype);
  // Matrix units add e4m3 products with 14 bits or so within a block of 128 of k.
  report.limit.max_limit += kE4m3MaxError * magnitudes.max;
  report.limit.rms_limit += kE4m3RmsError * magnitudes.rms();
  report.passed = passes(report.d, report.limit);
  return report;
}

std::string to_string(const MatmulReport& report) {
  return comparison_text("d", report.d, report.limit, "") +
         fmt::format("     {} rows checked: {}\n", report.rows_checked, report.passed ? "pass" : "FAIL");
}

}  // namespace fovea
