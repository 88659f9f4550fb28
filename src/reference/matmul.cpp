// SPDX-License-Identifier: Apache-2.0
#include "reference/matmul.h"

#include <cmath>

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

/// One row of b after another, so that b is read along its rows.
template <typename Real>
std::vector<Real> matmul_row(const MatmulArgs& args, const MatmulProblem& p, int batch, int row) {
  const Int64 a = batch_offset(args, args.a.stride_batch, batch) + row * args.a.stride_row;
  const Int64 b = batch_offset(args, args.b.stride_batch, batch);
  std::vector<Real> d(static_cast<std::size_t>(args.n), Real(0));
  for (int j = 0; j < args.k; ++j) {
    const auto factor = static_cast<Real>(load_element(args.a.data, p.dtype, a + j * args.a.stride_col));
    for (int i = 0; i < args.n; ++i) {
      const Int64 at = b + j * args.b.stride_row + i * args.b.stride_col;
      d[static_cast<std::size_t>(i)] += factor * static_cast<Real>(load_element(args.b.data, p.dtype, at));
    }
  }
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

std::vector<double> plain_matmul_row(const MatmulArgs& args, const MatmulProblem& problem, int batch, int row) {
  const std::vector<float> d = matmul_row<float>(args, problem, batch, row);
  std::vector<double> rounded;
  rounded.reserve(d.size());
  for (const float x : d) rounded.push_back(round_to(problem.d_dtype, x));
  return rounded;
}

}  // namespace fovea
