// SPDX-License-Identifier: Apache-2.0
#include "tests/support/matmul_cases.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "contract/dtype.h"
#include "problem/describe_matmul.h"

namespace fovea::testing {
namespace {

/// A (batch..., rows, cols) tensor in the given order; batches lie one behind the other, with a gap where rows have
/// one.
HostTensor make_matrix(DType dtype, const std::vector<int>& batch, int rows, int cols, Order order, std::byte fill,
                       int shift = 0) {
  HostTensor t;
  t.shift = static_cast<std::size_t>(shift * size_bytes(dtype));
  t.view.dtype = dtype;
  t.view.ndim = static_cast<int>(batch.size()) + 2;
  const int row = t.view.ndim - 2, col = row + 1;
  t.view.shape[row] = rows;
  t.view.shape[col] = cols;
  const bool is_transposed = order == Order::kColumns || order == Order::kGappyColumns;
  const bool has_gaps = order == Order::kGappyRows || order == Order::kGappyColumns;
  const std::int64_t step = order == Order::kEverySecond ? 2 : 1;
  const std::int64_t inner = is_transposed ? rows : cols, outer = is_transposed ? cols : rows;
  const std::int64_t pitch = step * std::max<std::int64_t>(inner, 1) + (has_gaps ? 5 : 0);
  t.view.strides[is_transposed ? row : col] = step;
  t.view.strides[is_transposed ? col : row] = pitch;
  std::int64_t stride = pitch * std::max<std::int64_t>(outer, 1) + (has_gaps ? 3 : 0);
  for (int i = row - 1; i >= 0; --i) {
    t.view.shape[i] = batch[static_cast<std::size_t>(i)];
    t.view.strides[i] = stride;
    stride *= std::max<std::int64_t>(t.view.shape[i], 1);
  }
  allocate(t, fill);
  return t;
}

/// Calls visit(element index) for every element in row-major order.
template <typename Visit>
void for_each_element(const TensorView& t, Visit visit) {
  std::int64_t count = 1;
  for (int d = 0; d < t.ndim; ++d) count *= t.shape[d];
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, at = 0;
    for (int d = t.ndim - 1; d >= 0; --d) {
      at += rest % t.shape[d] * t.strides[d];
      rest /= t.shape[d];
    }
    visit(at, i);
  }
}

class Filler {
 public:
  Filler(const MatmulCase& c, std::uint32_t seed)
      : kind_(c.fill),
        large_(c.dtype == DType::kE4M3 ? 60 : 2000),
        tiny_(c.dtype == DType::kE4M3                            ? 0x1p-8
              : c.dtype == DType::kBF16 || c.math == Math::kFast ? 1e-18
                                                                 : 1e-20),
        fills_(seed != kUnfilled),
        generator_(seed) {}

  void fill(HostTensor& t, double scale = 1.0) {
    if (!fills_) return;
    for_each_element(t.view, [&](std::int64_t at, std::int64_t) { store(t, at, scale * next()); });
  }

 private:
  double next() {
    switch (kind_) {
      case MatmulFill::kLarge: return large_ * normal_(generator_);
      case MatmulFill::kTiny: return tiny_ * normal_(generator_);
      case MatmulFill::kIntegers: return static_cast<double>(generator_() % 9) - 4.0;
      default: return normal_(generator_);
    }
  }
  MatmulFill kind_;
  double large_;
  double tiny_;  // products of bf16 and TF32 may count denormal sums as 0 (docs/numerics.md): theirs stay above
  bool fills_;
  std::mt19937 generator_;
  std::normal_distribution<double> normal_;
};

void poison(HostTensor& t, double value) {
  std::int64_t count = 1;
  for (int d = 0; d < t.view.ndim; ++d) count *= t.view.shape[d];
  for_each_element(t.view, [&](std::int64_t at, std::int64_t i) {
    if (i == count / 2) store(t, at, value);
  });
}

const char* text_of(Order order) {
  static constexpr const char* kTexts[] = {"n", "t", "n gaps", "t gaps", "every second"};
  return kTexts[static_cast<int>(order)];
}

}  // namespace

std::string to_string(const MatmulCase& c) {
  std::string text = fmt::format("{}: {} m={} n={} k={} a {}, b {}, d {}", c.name, name_of(c.dtype), c.m, c.n, c.k,
                                 text_of(c.a_order), text_of(c.b_order), text_of(c.d_order));
  if (!c.batch.empty()) text += fmt::format(" batch {}", fmt::join(c.batch, " x "));
  if (c.a_shift != 0 || c.b_shift != 0) text += fmt::format(" shifted by {} and {}", c.a_shift, c.b_shift);
  if (c.d_dtype) text += fmt::format(" -> {}", name_of(*c.d_dtype));
  if (c.has_c) text += fmt::format(" alpha={} beta={}{}", c.alpha, c.beta, c.c_is_d ? " c is d" : "");
  if (c.has_bias) text += " bias";
  if (c.scale != ScaleKind::kNone) text += c.scale == ScaleKind::kPerTensor ? " scaled" : " block-scaled";
  if (c.math == Math::kFast) text += " fast";
  if (c.activation != Activation::kNone) text += fmt::format(" {}", name_of(c.activation));
  return text;
}

MatmulData::MatmulData(const MatmulCase& x, std::uint32_t seed) : description(x) {
  a = make_matrix(x.dtype, x.differs ? x.batch_a : x.batch, x.m, x.k, x.a_order, kGuard, x.a_shift);
  b = make_matrix(x.dtype, x.differs ? x.batch_b : x.batch, x.k, x.n, x.b_order, kGuard, x.b_shift);
  const DType other = x.dtype == DType::kE4M3 ? DType::kBF16 : x.dtype;
  const DType d_dtype = x.d_dtype.value_or(other);
  d = make_matrix(d_dtype, x.batch, x.m, x.n, x.d_order, kPattern);
  Filler filler(x, seed);
  filler.fill(a);
  filler.fill(b);
  if (x.fill == MatmulFill::kNan) {
    poison(a, std::numeric_limits<double>::quiet_NaN());
    poison(b, std::numeric_limits<double>::infinity());
  }
  if (x.c_is_d) filler.fill(d);
  if (x.has_c && !x.c_is_d) {
    c = make_matrix(x.c_dtype.value_or(d_dtype), x.batch, x.m, x.n, x.d_order, kGuard);
    filler.fill(c);
  }
  if (x.has_bias) {
    bias = make_matrix(x.bias_dtype.value_or(other), {}, 1, x.n, Order::kRows, kGuard);
    filler.fill(bias);
    bias.view.ndim = 1;
    bias.view.shape[0] = x.n;
    bias.view.strides[0] = 1;
  }
  if (x.scale != ScaleKind::kNone) add_scales(seed);
  options.alpha = x.alpha;
  options.beta = x.beta;
  options.activation = x.activation;
  options.math = x.math;
  d_before_ = d.bytes;
}

/// Powers of two times a few: sums of integers stay exact in float64 and nearly so in fp32.
void MatmulData::add_scales(std::uint32_t seed) {
  const MatmulCase& x = description;
  std::mt19937 generator(seed + 1);
  const bool is_exact = x.fill == MatmulFill::kIntegers;
  const auto fill = [&](HostTensor& t) {
    for_each_element(t.view, [&](std::int64_t at, std::int64_t) {
      const int step = static_cast<int>(generator() % 5) - 2;
      const double odd = is_exact ? 1.0 : 1.0 + static_cast<double>(generator() % 1000) / 1000;
      store(t, at, std::ldexp(odd, step));
    });
  };
  if (x.scale == ScaleKind::kPerTensor) {
    for (HostTensor* t : {&a_scale, &b_scale}) {
      *t = make_matrix(DType::kF32, {}, 1, 1, Order::kRows, kGuard);
      t->view.ndim = 1;
      fill(*t);
    }
    return;
  }
  const auto blocks = [](int size) { return (size + kScaleBlock - 1) / kScaleBlock; };
  // In the orders of the operands, but the strides of their own.
  a_scale = make_matrix(DType::kF32, x.differs ? x.batch_a : x.batch, x.m, blocks(x.k), x.a_order, kGuard);
  b_scale = make_matrix(DType::kF32, x.differs ? x.batch_b : x.batch, blocks(x.k), blocks(x.n), x.b_order, kGuard);
  fill(a_scale);
  fill(b_scale);
}

MatmulTensors MatmulData::tensors() const {
  const TensorView absent;
  return {a.view,
          b.view,
          d.view,
          description.c_is_d  ? d.view
          : description.has_c ? c.view
                              : absent,
          description.has_bias ? bias.view : absent,
          a_scale.view,
          b_scale.view};
}

std::vector<HostTensor*> MatmulData::all() {
  std::vector<HostTensor*> present;
  for (HostTensor* t : {&a, &b, &c, &bias, &a_scale, &b_scale, &d}) {
    if (t->view.present()) present.push_back(t);
  }
  return present;
}

void MatmulData::reset() {
  std::copy(d_before_.begin(), d_before_.end(), d.bytes.begin());  // in place: views point into it
}

ExpectedMatmul expect(const MatmulData& data, std::int64_t max_rows) {
  const MatmulCall call = describe_matmul(data.tensors(), data.options);
  return expect_matmul(call.args, call.problem, max_rows);
}

std::string judge(const MatmulData& data, const ExpectedMatmul& expected) {
  const MatmulReport report = verify_matmul(describe_matmul(data.tensors(), data.options).args, expected);
  std::string fault = check_gaps(data.d, "d");
  if (!report.passed) fault += to_string(report);
  const MatmulCase& c = data.description;
  if (c.fill == MatmulFill::kIntegers && data.d.view.dtype == DType::kF32 && report.d.max_error() > 0) {
    fault += "sums of integers are not exact\n" + to_string(report);
  }
  return fault.empty() ? fault : to_string(data.description) + "\n" + fault;
}

}  // namespace fovea::testing
