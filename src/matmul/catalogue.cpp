// SPDX-License-Identifier: Apache-2.0
#include "matmul/catalogue.h"

namespace fovea {
namespace {

MatmulProblem problem_of(DType dtype, int m, int n, int k) {
  MatmulProblem p;
  p.device = {DeviceKind::kCUDA, 0};
  p.dtype = p.d_dtype = p.c_dtype = p.bias_dtype = dtype;
  p.m = m, p.n = n, p.k = k;
  return p;
}

void add_orders(std::vector<MatmulProblem>& all, DType dtype) {
  constexpr MatrixOrder kOrders[] = {MatrixOrder::kRowMajor, MatrixOrder::kColumnMajor};
  for (const MatrixOrder a : kOrders) {
    for (const MatrixOrder b : kOrders) {
      MatmulProblem p = problem_of(dtype, 1024, 1024, 1024);
      p.a_order = a, p.b_order = b;
      all.push_back(p);
    }
  }
}

void add_epilogues(std::vector<MatmulProblem>& all, DType dtype) {
  MatmulProblem p = problem_of(dtype, 4096, 4096, 4096);
  p.d_dtype = DType::kF32;
  all.push_back(p);
  p = problem_of(dtype, 4096, 4096, 4096);
  p.d_order = MatrixOrder::kColumnMajor;
  all.push_back(p);
  p = problem_of(dtype, 4096, 4096, 4096);
  p.has_bias = p.has_c = true;
  for (const Activation activation : {Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
    p.activation = activation;
    all.push_back(p);
  }
}

void add_alignments(std::vector<MatmulProblem>& all, DType dtype) {
  for (const int bytes : {2, 4, 8}) {
    MatmulProblem p = problem_of(dtype, 1000, 1000, 1000);
    p.a_alignment_bytes = p.b_alignment_bytes = p.d_alignment_bytes = dtype == DType::kF32 && bytes < 4 ? 4 : bytes;
    all.push_back(p);
  }
  MatmulProblem p = problem_of(dtype, 1000, 1000, 1000);
  p.a_order = p.b_order = p.d_order = MatrixOrder::kStrided;
  all.push_back(p);
}

/// fp32 as TF32.
void add_fast(std::vector<MatmulProblem>& all) {
  const std::size_t first = all.size();
  all.push_back(problem_of(DType::kF32, 4096, 4096, 4096));
  all.push_back(problem_of(DType::kF32, 256, 256, 256));
  all.push_back(problem_of(DType::kF32, 16, 4096, 4096));
  add_orders(all, DType::kF32);
  add_epilogues(all, DType::kF32);
  add_alignments(all, DType::kF32);
  for (std::size_t i = first; i < all.size(); ++i) all[i].math = Math::kFast;
}

/// fp8, b transposed as matrix units want it; and one of the layouts that are read element by element.
void add_e4m3(std::vector<MatmulProblem>& all) {
  const std::size_t first = all.size();
  for (const int size : {4096, 1536, 256}) all.push_back(problem_of(DType::kE4M3, size, size, size));
  for (const int rows : {16, 64}) all.push_back(problem_of(DType::kE4M3, rows, 4096, 4096));
  add_epilogues(all, DType::kE4M3);
  for (std::size_t i = first; i < all.size(); ++i) {
    MatmulProblem& p = all[i];
    p.b_order = MatrixOrder::kColumnMajor;
    if (p.d_dtype == DType::kE4M3) p.d_dtype = DType::kBF16;
    p.c_dtype = p.bias_dtype = DType::kBF16;
  }
  const std::size_t count = all.size() - first;
  for (std::size_t i = 0; i < count; ++i) {
    for (const ScaleKind scale : {ScaleKind::kPerTensor, ScaleKind::kPerBlock}) {
      all.push_back(all[first + i]);
      all.back().scale = scale;
    }
  }
  MatmulProblem p = all[first];
  p.a_alignment_bytes = p.b_alignment_bytes = 1;
  all.push_back(p);
  p.b_order = MatrixOrder::kRowMajor;
  all.push_back(p);
}

}  // namespace

std::vector<MatmulProblem> matmul_catalogue() {
  std::vector<MatmulProblem> all;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    all.push_back(problem_of(dtype, 4096, 4096, 4096));
    all.push_back(problem_of(dtype, 1536, 1536, 1536));
    all.push_back(problem_of(dtype, 256, 256, 256));
    all.push_back(problem_of(dtype, 16, 4096, 4096));
    all.push_back(problem_of(dtype, 64, 4096, 4096));
    add_orders(all, dtype);
    add_epilogues(all, dtype);
    add_alignments(all, dtype);
  }
  add_fast(all);
  add_e4m3(all);
  return all;
}

}  // namespace fovea
