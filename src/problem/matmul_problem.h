// SPDX-License-Identifier: Apache-2.0
// What is asked of a matrix product: all that decides correctness and speed, nothing that moves. CPU, GPU, reference,
// plan cache, bench, tests and explain take this same struct.
#pragma once

#include <cstdint>
#include <string>

#include "contract/matmul_args.h"
#include "fovea/types.h"

namespace fovea {

struct MatmulProblem {
  Device device;
  DType dtype = DType::kF32;  // of a and b
  DType d_dtype = DType::kF32;
  DType c_dtype = DType::kF32;     // counts with has_c
  DType bias_dtype = DType::kF32;  // counts with has_bias
  Math math = Math::kExact;
  ScaleKind scale = ScaleKind::kNone;
  int batch = 1;  // products of m x k by k x n; a batch that shares b is one product with more rows where strides allow
  int m = 0;
  int n = 0;
  int k = 0;
  int batch_dims = 0;     // leading dimensions that are left (0 to 3)
  bool shares_a = false;  // one a for the whole batch
  bool shares_b = false;
  MatrixOrder a_order = MatrixOrder::kRowMajor;
  MatrixOrder b_order = MatrixOrder::kRowMajor;
  MatrixOrder d_order = MatrixOrder::kRowMajor;
  MatrixOrder c_order = MatrixOrder::kRowMajor;
  bool has_c = false;  // c is given and beta is not 0
  bool has_bias = false;
  Activation activation = Activation::kNone;
  float alpha = 1.0f;
  float beta = 0.0f;
  bool deterministic = true;
  /// The largest power of two up to 128 that divides the address and every stride but the one of 1, in bytes.
  int a_alignment_bytes = 128;
  int b_alignment_bytes = 128;
  int d_alignment_bytes = 128;  // of d and c, and of the length of a row (column) of d

  friend bool operator==(const MatmulProblem&, const MatmulProblem&) = default;
};

/// One line: "matmul bf16 b=8 m=4096 n=4096 k=128 tn -> fp32 bias gelu": n is row-major, t column-major, s neither,
/// first a, then b.
std::string to_string(const MatmulProblem& problem);
std::uint64_t hash_of(const MatmulProblem& problem);

/// 2 m n k per product of the batch.
double matmul_flops(const MatmulProblem& problem);

/// Bytes of a, b, c, bias and d, each counted once.
double matmul_bytes(const MatmulProblem& problem);

}  // namespace fovea
