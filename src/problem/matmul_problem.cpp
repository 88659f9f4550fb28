// SPDX-License-Identifier: Apache-2.0
#include "problem/matmul_problem.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "contract/dtype.h"

namespace fovea {
namespace {

char letter_of(MatrixOrder order) {
  return order == MatrixOrder::kRowMajor ? 'n' : order == MatrixOrder::kColumnMajor ? 't' : 's';
}

}  // namespace

std::string to_string(const MatmulProblem& p) {
  std::string text = fmt::format("matmul {}", name_of(p.dtype));
  if (p.batch != 1) text += fmt::format(" b={}", p.batch);
  text += fmt::format(" m={} n={} k={} {}{}", p.m, p.n, p.k, letter_of(p.a_order), letter_of(p.b_order));
  if (p.shares_a) text += " one-a";
  if (p.shares_b) text += " one-b";
  if (p.d_dtype != p.dtype) text += fmt::format(" -> {}", name_of(p.d_dtype));
  if (p.d_order != MatrixOrder::kRowMajor) text += fmt::format(" d={}", letter_of(p.d_order));
  if (p.alpha != 1.0f) text += fmt::format(" alpha={}", p.alpha);
  if (p.has_c) text += fmt::format(" beta={}", p.beta);
  if (p.has_bias) text += " bias";
  if (p.activation != Activation::kNone) text += fmt::format(" {}", name_of(p.activation));
  if (p.math == Math::kFast) text += " fast";
  if (p.scale != ScaleKind::kNone) text += p.scale == ScaleKind::kPerTensor ? " scaled" : " block-scaled";
  return text;
}

std::uint64_t hash_of(const MatmulProblem& p) {
  Hasher h;
  h.add(p.device.kind).add(p.device.index).add(p.dtype).add(p.d_dtype).add(p.c_dtype).add(p.bias_dtype).add(p.math);
  h.add(p.batch).add(p.m).add(p.n).add(p.k).add(p.batch_dims).add(p.shares_a).add(p.shares_b);
  h.add(p.a_order).add(p.b_order).add(p.d_order).add(p.c_order).add(p.has_c).add(p.has_bias).add(p.activation);
  h.add(p.scale).add(p.alpha).add(p.beta).add(p.deterministic);
  return h.add(p.a_alignment_bytes).add(p.b_alignment_bytes).add(p.d_alignment_bytes).value();
}

double matmul_flops(const MatmulProblem& p) { return 2.0 * p.m * p.n * p.k * p.batch; }

double matmul_bytes(const MatmulProblem& p) {
  const double m = p.m, n = p.n, k = p.k, batch = p.batch;
  double bytes = m * k * size_bytes(p.dtype) * (p.shares_a ? 1.0 : batch);
  bytes += k * n * size_bytes(p.dtype) * (p.shares_b ? 1.0 : batch);
  bytes += m * n * batch * size_bytes(p.d_dtype);
  if (p.has_c) bytes += m * n * batch * size_bytes(p.c_dtype);
  if (p.has_bias) bytes += n * size_bytes(p.bias_dtype);
  return bytes;
}

}  // namespace fovea
