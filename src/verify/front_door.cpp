// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/check.h"
#include "fovea/verify.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "problem/describe_matmul.h"
#include "reference/attention.h"
#include "verify/attention.h"
#include "verify/matmul.h"

namespace fovea {
namespace {

void check_on_cpu(const AttentionTensors& tensors) {
  check(tensors.q.device.kind == DeviceKind::kCPU, ErrorCode::kInvalidArgument, "q",
        "q is on a GPU; the reference reads CPU memory, so copy the tensors there");
  check(!tensors.page_table.present(), ErrorCode::kUnsupported, "page_table", "the reference reads no page table");
}

void check_readable(const char* name, const TensorView& tensor) {
  check(tensor.data || extent_bytes(tensor) == 0, ErrorCode::kInvalidArgument, name, "{} has null data", name);
}

/// The view's shape with row-major strides.
TensorView contiguous(TensorView view) {
  std::int64_t stride = 1;
  for (int d = view.ndim - 1; d >= 0; --d) {
    view.strides[d] = stride;
    stride *= view.shape[d];
  }
  return view;
}

Verdict verdict_of(const Comparison& comparison, const Tolerance& limit) {
  Verdict verdict;
  verdict.max_error = comparison.max_error();
  verdict.plain_max_error = comparison.plain_max_error();
  verdict.max_limit = limit.max_limit;
  verdict.rms_error = comparison.rms_error();
  verdict.plain_rms_error = comparison.plain_rms_error();
  verdict.rms_limit = limit.rms_limit;
  return verdict;
}

}  // namespace

void attention_reference(const AttentionTensors& tensors, const AttentionOptions& options, double* o_exact,
                         double* lse_exact) {
  const AttentionProblem problem = describe_attention(tensors, options, /*require_data=*/false);
  check_on_cpu(tensors);
  check_readable("q", tensors.q);
  check_readable("k", tensors.k);
  check_readable("v", tensors.v);
  const AttentionArgs args = attention_args(tensors, options.layout, problem);
  const TensorRows o = rows_of(contiguous(tensors.o), options.layout);
  const bool packed = options.layout == Layout::kTHD;
  const std::int64_t lse_rows = packed ? problem.total_q : problem.seqlen_q;
  for (int b = 0; b < args.batch; ++b) {
    const SequenceShape s = sequence_shape(args.query, args.kv, b);
    for (int head = 0; head < args.num_heads_q; ++head) {
      const std::int64_t lse_first = (packed ? head : std::int64_t{b} * args.num_heads_q + head) * lse_rows;
      for (int row = 0; row < s.rows_q; ++row) {
        const ReferenceRow exact = reference_attention_row(args, problem.dtype, b, head, row);
        const std::int64_t at = s.q_first + row;
        const std::int64_t first = (packed ? 0 : b * o.stride_batch) + at * o.stride_row + head * o.stride_head;
        std::copy(exact.o.begin(), exact.o.end(), o_exact + first);
        if (lse_exact) lse_exact[lse_first + at] = exact.lse;
      }
    }
  }
}

Verdict attention_verdict(const AttentionTensors& tensors, const AttentionOptions& options, std::int64_t max_rows) {
  const AttentionProblem problem = describe_attention(tensors, options);
  check_on_cpu(tensors);
  const AttentionReport report =
      verify_attention(attention_args(tensors, options.layout, problem), problem.dtype, {max_rows});
  Verdict verdict = verdict_of(report.o, report.o_limit);
  verdict.passed = report.passed;
  verdict.rows_checked = report.rows_checked;
  verdict.report = to_string(report);
  return verdict;
}

Verdict matmul_verdict(const MatmulTensors& tensors, const MatmulOptions& options, std::int64_t max_rows) {
  check(tensors.a.device.kind == DeviceKind::kCPU, ErrorCode::kInvalidArgument, "a",
        "a is on a GPU; the reference reads CPU memory, so copy the tensors there");
  check(max_rows >= 0, ErrorCode::kInvalidArgument, "max_rows", "max_rows is {}, must not be negative", max_rows);
  const MatmulCall call = describe_matmul(tensors, options);
  const MatmulReport report = verify_matmul(call.args, expect_matmul(call.args, call.problem, max_rows));
  Verdict verdict = verdict_of(report.d, report.limit);
  verdict.passed = report.passed;
  verdict.rows_checked = report.rows_checked;
  verdict.report = to_string(report);
  return verdict;
}

}  // namespace fovea
