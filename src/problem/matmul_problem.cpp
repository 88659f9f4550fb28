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
  // Small fields share words: every word is a multiplication that waits for the one before.
  const auto pack = [&h](auto... fields) {
    std::uint64_t word = 0;
    ((word = word << 8 | static_cast<std::uint8_t>(fields)), ...);
    static_assert(sizeof...(fields) <= sizeof word);
    h.add(word);
  };
  pack(p.device.kind, p.dtype, p.d_dtype, p.c_dtype, p.bias_dtype, p.math, p.scale, p.activation);
  pack(p.a_order, p.b_order, p.d_order, p.c_order, p.shares_a, p.shares_b, p.has_c, p.has_bias);
  pack(p.batch_dims, p.deterministic, p.a_alignment_bytes, p.b_alignment_bytes, p.d_alignment_bytes);
  h.add(p.device.index).add(p.batch).add(p.m).add(p.n).add(p.k);
  return h.add(p.alpha).add(p.beta).value();
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
