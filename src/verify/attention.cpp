// SPDX-License-Identifier: Apache-2.0
#include "verify/attention.h"

#include <fmt/format.h>

#include <algorithm>

#include "verify/report.h"

namespace fovea {
namespace {

void compare_row(const AttentionArgs& args, DType dtype, const ExpectedAttention::Row& r, AttentionReport& report) {
  const SequenceShape s = sequence_shape(args.query, args.kv, r.batch);
  const bool packed = args.query.cu_seqlens != nullptr;
  const Int64 position = s.q_first + r.row;
  const OutputArgs& out = args.output;
  const Int64 o_row = (packed ? 0 : r.batch * out.stride_batch) + position * out.stride_row + r.head * out.stride_head;
  for (int c = 0; c < args.head_dim_v; ++c) {
    const auto i = static_cast<std::size_t>(c);
    report.o.add({r.batch, r.head, r.row, c}, r.exact.o[i], r.plain.o[i], load_element(out.o, dtype, o_row + c));
  }
  if (out.lse) {
    const Int64 at = (packed ? 0 : r.batch * out.lse_stride_batch) + r.head * out.lse_stride_head + position;
    report.lse.add({r.batch, r.head, r.row, 0}, r.exact.lse, r.plain.lse, out.lse[at]);
  }
  ++report.rows_checked;
}

}  // namespace

ExpectedAttention expect_attention(const AttentionArgs& args, DType dtype, RowSample sample) {
  ExpectedAttention expected{dtype, {}};
  const auto add = [&](int b, int h, int row) {
    expected.rows.push_back(
        {b, h, row, reference_attention_row(args, dtype, b, h, row), plain_attention_row(args, dtype, b, h, row)});
  };
  const double all_rows = static_cast<double>(args.batch) * args.num_heads_q * std::max(args.query.seqlen, 1);
  const double keep = sample.max_rows > 0 ? std::min(1.0, static_cast<double>(sample.max_rows) / all_rows) : 1.0;
  double credit = 1.0;
  for (int b = 0; b < args.batch; ++b) {
    const int rows = sequence_shape(args.query, args.kv, b).rows_q;
    for (int h = 0; h < args.num_heads_q; ++h) {
      bool sampled_here = false;
      for (int row = 0; row < rows; ++row) {
        credit += keep;
        const bool last_of_sampled = sampled_here && row == rows - 1;
        if (credit < 1.0 && !last_of_sampled) continue;
        credit = std::max(0.0, credit - 1.0);
        if (!sampled_here && row > 0 && keep < 1.0) add(b, h, 0);
        sampled_here = true;
        add(b, h, row);
      }
    }
  }
  return expected;
}

AttentionReport verify_attention(const AttentionArgs& args, const ExpectedAttention& expected) {
  AttentionReport report;
  for (const ExpectedAttention::Row& row : expected.rows) compare_row(args, expected.dtype, row, report);
  report.o_limit = tolerance_of(report.o, expected.dtype);
  report.lse_limit = tolerance_of_lse(report.lse);
  report.passed = passes(report.o, report.o_limit) && passes(report.lse, report.lse_limit);
  return report;
}

AttentionReport verify_attention(const AttentionArgs& args, DType dtype, RowSample sample) {
  return verify_attention(args, expect_attention(args, dtype, sample));
}

std::string to_string(const AttentionReport& report) {
  std::string text = comparison_text("o", report.o, report.o_limit, "head");
  if (report.lse.count() > 0) text += comparison_text("lse", report.lse, report.lse_limit, "head");
  return text + fmt::format("     {} rows checked: {}\n", report.rows_checked, report.passed ? "pass" : "FAIL");
}

}  // namespace fovea
