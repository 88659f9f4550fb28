// SPDX-License-Identifier: Apache-2.0
#include "tests/support/cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "base/math.h"
#include "contract/dtype.h"
#include "problem/arguments.h"
#include "problem/describe.h"

namespace fovea::testing {
namespace {

/// A tensor of logical dims (batch, row, head, column) in the layout's order; gaps between rows and heads when strided.
HostTensor make_tensor(const AttentionCase& c, std::int64_t rows, int heads, int dim, std::byte fill) {
  HostTensor t;
  t.view.dtype = c.dtype;
  const int pitch = dim + (c.strided ? 5 : 0);
  if (c.layout == Layout::kTHD) {
    t.view.ndim = 3;
    const std::int64_t shape[] = {rows, heads, dim};
    std::copy(shape, shape + 3, t.view.shape);
    t.view.strides[2] = 1;
    t.view.strides[1] = pitch;
    t.view.strides[0] = static_cast<std::int64_t>(pitch) * heads + (c.strided ? 3 : 0);
  } else {
    t.view.ndim = 4;
    const bool bshd = c.layout == Layout::kBSHD;
    const std::int64_t shape[] = {c.batch, bshd ? rows : heads, bshd ? heads : rows, dim};
    std::copy(shape, shape + 4, t.view.shape);
    t.view.strides[3] = 1;
    t.view.strides[2] = pitch;
    t.view.strides[1] = pitch * std::max<std::int64_t>(shape[2], 1) + (c.strided ? 3 : 0);
    t.view.strides[0] = t.view.strides[1] * std::max<std::int64_t>(shape[1], 1) + (c.strided ? 11 : 0);
  }
  allocate(t, fill);
  return t;
}

HostTensor make_ints(const std::vector<int>& values) {
  HostTensor t;
  t.bytes.resize(values.size() * 4);
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  t.view = TensorView::contiguous(t.bytes.data(), DType::kI32, {static_cast<std::int64_t>(values.size())});
  return t;
}

std::vector<int> offsets_of(const std::vector<int>& lengths) {
  std::vector<int> offsets(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), offsets.begin() + 1);
  return offsets;
}

/// Calls visit(batch, row within the sequence, head, element index of column 0) for rows that the sequence really has.
template <typename Visit>
void for_each_row(const HostTensor& t, Layout layout, const std::vector<int>& lengths, Visit visit) {
  const TensorRows r = rows_of(t.view, layout);
  const auto sequences = layout == Layout::kTHD ? static_cast<std::int64_t>(lengths.size()) : r.batch;
  std::int64_t first = 0;
  for (std::int64_t b = 0; b < sequences; ++b) {
    const std::int64_t rows = lengths.empty() ? r.seqlen : lengths[static_cast<std::size_t>(b)];
    const std::int64_t base = layout == Layout::kTHD ? first * r.stride_row : b * r.stride_batch;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t h = 0; h < r.num_heads; ++h) visit(b, row, h, base + row * r.stride_row + h * r.stride_head);
    }
    first += rows;
  }
}

/// Rows past a sequence's length stay NaN: they must not be read.
void fill_inputs(CaseData& data, std::uint32_t seed) {
  const AttentionCase& c = data.description;
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  const double q_scale = c.fill == Fill::kLargeScores ? 12.0 : 1.0;
  const double v_scale = c.fill == Fill::kTiny && c.dtype == DType::kF32 ? 1e-39 : 1.0;
  const auto fill = [&](HostTensor& t, const std::vector<int>& lengths, double scale) {
    const std::int64_t dim = t.view.shape[t.view.ndim - 1];
    for_each_row(t, c.layout, lengths, [&](auto, auto, auto, std::int64_t at) {
      for (std::int64_t i = 0; i < dim; ++i) store(t, at + i, scale * normal(generator));
    });
  };
  fill(data.q, c.lengths_q, q_scale);
  fill(data.k, c.lengths_k, q_scale);
  fill(data.v, c.lengths_k, v_scale);
  const std::int64_t dim = c.head_dim;
  const std::int64_t keys = data.k.view.shape[c.layout == Layout::kBHSD ? 2 : 1];
  for_each_row(data.k, c.layout, c.lengths_k, [&](auto, std::int64_t row, auto, std::int64_t at) {
    if (c.fill == Fill::kNanKey && row == keys / 2) store(data.k, at, std::numeric_limits<double>::quiet_NaN());
    if (c.fill == Fill::kInfiniteKey && row == keys / 2) store(data.k, at, -std::numeric_limits<double>::infinity());
    for (std::int64_t i = 0; i < dim; ++i) {
      if (c.fill == Fill::kEqualScores) store(data.k, at + i, 0.125 * static_cast<double>(i % 7));
      if (c.fill == Fill::kHugeHidden && row % 8 == 7) store(data.k, at + i, row % 16 == 7 ? 900.0 : -900.0);
    }
  });
  for_each_row(data.v, c.layout, c.lengths_k, [&](auto, std::int64_t row, auto, std::int64_t at) {
    if (c.fill == Fill::kNanKey && row == keys * 3 / 4 && data.v.view.shape[data.v.view.ndim - 1] > 0) {
      store(data.v, at, std::numeric_limits<double>::infinity());
    }
  });
}

AttentionOptions options_of(const AttentionCase& c) {
  AttentionOptions o;
  o.layout = c.layout;
  o.causal = c.causal;
  o.window_left = c.window_left;
  o.window_right = c.window_right;
  o.alignment = c.top_left ? MaskAlignment::kTopLeft : MaskAlignment::kBottomRight;
  o.softmax_scale = c.softmax_scale;
  o.softcap = c.softcap;
  if (c.layout == Layout::kTHD) {
    const auto longest = [](const std::vector<int>& l) {
      return l.empty() ? 0 : *std::max_element(l.begin(), l.end());
    };
    o.max_seqlen_q = longest(c.lengths_q);
    o.max_seqlen_k = longest(c.lengths_k);
  }
  return o;
}

}  // namespace

std::string to_string(const AttentionCase& c) {
  static constexpr const char* kLayouts[] = {"bshd", "bhsd", "thd"};
  std::string text = fmt::format("{}: {} {} b={} sq={} sk={} h={}/{} d={}/{}", c.name, name_of(c.dtype),
                                 kLayouts[static_cast<int>(c.layout)], c.batch, c.seqlen_q, c.seqlen_k, c.num_heads_q,
                                 c.num_heads_kv, c.head_dim, c.head_dim_v ? std::max(c.head_dim_v, 0) : c.head_dim);
  if (c.causal) text += " causal";
  if (c.window_left || c.window_right)
    text += fmt::format(" window={},{}", c.window_left.value_or(-1), c.window_right.value_or(-1));
  return text;
}

CaseData::CaseData(const AttentionCase& c, std::uint32_t seed) : description(c), options(options_of(c)) {
  const bool packed = c.layout == Layout::kTHD;
  const auto total = [](const std::vector<int>& lengths) { return std::accumulate(lengths.begin(), lengths.end(), 0); };
  const std::int64_t rows_q = packed ? total(c.lengths_q) : c.seqlen_q;
  const std::int64_t rows_k = packed ? total(c.lengths_k) : c.seqlen_k;
  const int dim_v = c.head_dim_v == 0 ? c.head_dim : std::max(c.head_dim_v, 0);
  q = make_tensor(c, rows_q, c.num_heads_q, c.head_dim, kGuard);
  k = make_tensor(c, rows_k, c.num_heads_kv, c.head_dim, kGuard);
  v = make_tensor(c, rows_k, c.num_heads_kv, dim_v, kGuard);
  o = make_tensor(c, rows_q, c.num_heads_q, dim_v, kPattern);
  if (seed != kUnfilled) fill_inputs(*this, seed);
  if (c.lse) {
    const std::int64_t sequences = packed ? 1 : c.batch;
    lse.bytes.assign(static_cast<std::size_t>(sequences * c.num_heads_q * rows_q) * 4 + 2 * kGuardBytes, kGuard);
    std::fill(lse.bytes.begin() + kGuardBytes, lse.bytes.end() - kGuardBytes, kPattern);
    lse.offset = kGuardBytes;
    void* data = lse.bytes.data() + lse.offset;
    lse.view = packed ? TensorView::contiguous(data, DType::kF32, {c.num_heads_q, rows_q})
                      : TensorView::contiguous(data, DType::kF32, {c.batch, c.num_heads_q, rows_q});
  }
  if (packed) {
    cu_seqlens_q = make_ints(offsets_of(c.lengths_q));
    cu_seqlens_k = make_ints(offsets_of(c.lengths_k));
  } else {
    if (!c.lengths_q.empty()) seq_lens_q = make_ints(c.lengths_q);
    if (!c.lengths_k.empty()) seq_lens_k = make_ints(c.lengths_k);
  }
}

AttentionTensors CaseData::tensors() const {
  return {
      q.view, k.view, v.view, o.view, lse.view, seq_lens_q.view, seq_lens_k.view, cu_seqlens_q.view, cu_seqlens_k.view,
      {}};
}

std::vector<HostTensor*> CaseData::all() {
  std::vector<HostTensor*> present;
  for (HostTensor* t : {&q, &k, &v, &seq_lens_q, &seq_lens_k, &cu_seqlens_q, &cu_seqlens_k, &o, &lse}) {
    if (t->view.present()) present.push_back(t);
  }
  return present;
}

ExpectedAttention expect(const CaseData& data, RowSample sample) {
  const AttentionProblem problem = describe_attention(data.tensors(), data.options);
  return expect_attention(attention_args(data.tensors(), data.options.layout, problem), problem.dtype, sample);
}

std::string judge(const CaseData& data, const ExpectedAttention& expected) {
  const AttentionProblem problem = describe_attention(data.tensors(), data.options);
  const AttentionReport report =
      verify_attention(attention_args(data.tensors(), data.options.layout, problem), expected);
  std::string fault = check_gaps(data.o, "o");
  if (data.lse.view.present()) fault += check_gaps(data.lse, "lse");
  if (!report.passed) fault += to_string(report);
  return fault.empty() ? fault : to_string(data.description) + "\n" + fault;
}

std::string judge(const CaseData& data, RowSample sample) { return judge(data, expect(data, sample)); }

void reset_outputs(CaseData& data) {
  for (HostTensor* t : {&data.o, &data.lse}) {
    if (!t->view.present()) continue;
    reset(*t);
  }
}

}  // namespace fovea::testing
