// SPDX-License-Identifier: Apache-2.0
#include "reference/matmul.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "base/math.h"
#include "reference/element.h"

namespace fovea {
namespace {

template <typename Real>
Real activate(Activation activation, Real x) {
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kRelu: return x > 0 || std::isnan(x) ? x : Real(0);
    case Activation::kGelu: return Real(0.5) * x * std::erfc(-x * static_cast<Real>(0.70710678118654752440));
    case Activation::kSilu: return x / (Real(1) + std::exp(-x));
  }
  return x;
}

/// An element of a or b as the plain method multiplies it; float64 takes what is stored.
template <typename Real>
Real operand(const void* data, const MatmulProblem& p, Int64 at) {
  const double x = load_element(data, p.dtype, at);
  const bool is_rounded = std::is_same_v<Real, float> && p.dtype == DType::kF32 && p.math == Math::kFast;
  return is_rounded ? static_cast<Real>(round_to_tf32(static_cast<float>(x))) : static_cast<Real>(x);
}

/// The factor of elements of this line and block of k.
template <typename Real>
Real scale_at(const MatmulArgs& args, const ScaleArgs& scale, int batch, int line, int block) {
  if (!scale.data) return Real(1);
  return static_cast<Real>(
      scale.data[batch_offset(args, scale.stride_batch, batch) + line * scale.stride_line + block * scale.stride_k]);
}

/// sums += products of k in [begin, end). One row of b after another, so that b is read along its rows.
template <typename Real, typename Term>
void add_products(const MatmulArgs& args, const MatmulProblem& p, int batch, int row, int begin, int end,
                  std::vector<Real>& sums, Term term) {
  const Int64 a = batch_offset(args, args.a.stride_batch, batch) + row * args.a.stride_row;
  const Int64 b = batch_offset(args, args.b.stride_batch, batch);
  for (int j = begin; j < end; ++j) {
    const auto factor = operand<Real>(args.a.data, p, a + j * args.a.stride_col);
    for (int i = 0; i < args.n; ++i) {
      const Int64 at = b + j * args.b.stride_row + i * args.b.stride_col;
      sums[static_cast<std::size_t>(i)] += term(factor * operand<Real>(args.b.data, p, at));
    }
  }
}

/// The sums of a row, scales applied; of term(product) instead of the products.
template <typename Real, typename Term>
std::vector<Real> scaled_sums(const MatmulArgs& args, const MatmulProblem& p, int batch, int row, Term term) {
  const auto n = static_cast<std::size_t>(args.n);
  std::vector<Real> d(n, Real(0));
  const int step = p.scale == ScaleKind::kPerBlock ? kScaleBlock : std::max(args.k, 1);
  for (int begin = 0; begin < args.k; begin += step) {
    std::vector<Real> sums(n, Real(0));
    add_products<Real>(args, p, batch, row, begin, std::min(begin + step, args.k), sums, term);
    const int block = begin / kScaleBlock;
    const auto of_a = scale_at<Real>(args, args.a_scale, batch, row, block);
    for (int i = 0; i < args.n; ++i) {
      const auto of_b = scale_at<Real>(args, args.b_scale, batch, i / kScaleBlock, block);
      d[static_cast<std::size_t>(i)] += term(of_a * of_b) * sums[static_cast<std::size_t>(i)];
    }
  }
  return d;
}

template <typename Real>
std::vector<Real> matmul_row(const MatmulArgs& args, const MatmulProblem& p, int batch, int row) {
  std::vector<Real> d = scaled_sums<Real>(args, p, batch, row, [](Real x) { return x; });
  const Int64 c = batch_offset(args, args.c.stride_batch, batch) + row * args.c.stride_row;
  for (int i = 0; i < args.n; ++i) {
    Real x = static_cast<Real>(args.alpha) * d[static_cast<std::size_t>(i)];
    if (p.has_c) {
      x += static_cast<Real>(args.beta) *
           static_cast<Real>(load_element(args.c.data, p.c_dtype, c + i * args.c.stride_col));
    }
    if (p.has_bias) x += static_cast<Real>(load_element(args.bias, p.bias_dtype, i * args.bias_stride));
    d[static_cast<std::size_t>(i)] = activate(p.activation, x);
  }
  return d;
}

}  // namespace

std::vector<double> reference_matmul_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row) {
  return matmul_row<double>(args, problem, batch, row);
}

std::vector<double> matmul_magnitude_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row) {
  std::vector<double> sums = scaled_sums<double>(args, problem, batch, row, [](double x) { return std::abs(x); });
  for (double& x : sums) x *= std::abs(static_cast<double>(args.alpha));
  return sums;
}

std::vector<double> plain_matmul_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row) {
  const std::vector<float> d = matmul_row<float>(args, problem, batch, row);
  std::vector<double> rounded;
  rounded.reserve(d.size());
  for (const float x : d) rounded.push_back(round_to(problem.d_dtype, x));
  return rounded;
}

}  // namespace fovea
