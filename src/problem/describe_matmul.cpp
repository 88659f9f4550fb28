// SPDX-License-Identifier: Apache-2.0
#include "problem/describe_matmul.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "contract/dtype.h"
#include "problem/tensor_checks.h"

namespace fovea {
namespace {

constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;
constexpr std::int64_t kIntLimit = std::numeric_limits<int>::max();

/// Of d, c and bias; a and b may be fp8 as well.
bool is_element(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

void check_operand(const Named& n, const TensorView& a, const char* dims, bool require_data, bool may_be_fp8 = false) {
  const TensorView& t = *n.tensor;
  check(t.present(), kBad, n.name, "{} is missing; a matrix product needs a, b and d", n.name);
  check(t.ndim >= 2 && t.ndim <= 2 + kMatmulBatchDims, kBad, n.name,
        "{} has {} dimensions, must have 2 to {}: {}; a vector is a matrix of one row or column", n.name, t.ndim,
        2 + kMatmulBatchDims, dims);
  check_extent(n);
  check(is_element(t.dtype) || (may_be_fp8 && t.dtype == DType::kE4M3), kBad, n.name,
        "{} has dtype {}, must be fp32, fp16{} bf16{}", n.name, name_of(t.dtype), may_be_fp8 ? "," : " or",
        may_be_fp8 ? " or e4m3" : "");
  check_device(n, {"a", &a});
  check_data(n, require_data);
}

std::int64_t rows_of(const TensorView& t) { return t.shape[t.ndim - 2]; }
std::int64_t cols_of(const TensorView& t) { return t.shape[t.ndim - 1]; }

/// Size of leading dimension i counted from the innermost (0), 1 where the tensor has none.
std::int64_t leading_size(const TensorView& t, int i) { return i < t.ndim - 2 ? t.shape[t.ndim - 3 - i] : 1; }
std::int64_t leading_stride(const TensorView& t, int i) {
  return leading_size(t, i) > 1 ? t.strides[t.ndim - 3 - i] : 0;
}

void check_shapes(const MatmulTensors& t, bool has_c) {
  check(t.b.dtype == t.a.dtype, kBad, "b", "b has dtype {} but a has {}; convert one of them", name_of(t.b.dtype),
        name_of(t.a.dtype));
  check(rows_of(t.b) == cols_of(t.a), kBad, "b",
        "b has shape {} and a {}: b must have as many rows as a has columns ({}); for a transposed b exchange its last "
        "two sizes and strides",
        shape_text(t.b), shape_text(t.a), cols_of(t.a));
  check(rows_of(t.d) == rows_of(t.a) && cols_of(t.d) == cols_of(t.b), kBad, "d",
        "d has shape {}, must end in ({}, {}): the rows of a {} and the columns of b {}", shape_text(t.d), rows_of(t.a),
        cols_of(t.b), shape_text(t.a), shape_text(t.b));
  for (const Named& n : {Named{"a", &t.a}, {"b", &t.b}, {"c", has_c ? &t.c : &t.d}}) {
    for (int i = 0; i < kMatmulBatchDims; ++i) {
      const std::int64_t size = leading_size(*n.tensor, i), want = leading_size(t.d, i);
      check(size == want || size == 1, kBad, n.name,
            "{} has shape {}, which does not fit d {}: each leading dimension must be that of d, 1, or missing", n.name,
            shape_text(*n.tensor), shape_text(t.d));
    }
  }
  if (has_c) {
    check(rows_of(t.c) == rows_of(t.d) && cols_of(t.c) == cols_of(t.d), kBad, "c",
          "c has shape {}, must be that of d {} or one matrix of it", shape_text(t.c), shape_text(t.d));
  }
}

void check_bias(const MatmulTensors& t, bool require_data) {
  if (!t.bias.present()) return;
  const Named n = {"bias", &t.bias};
  check_extent(n);
  check(t.bias.ndim == 1 && t.bias.shape[0] == cols_of(t.d), kBad, "bias",
        "bias has shape {}, must be ({},): one number per column of d {}", shape_text(t.bias), cols_of(t.d),
        shape_text(t.d));
  check(is_element(t.bias.dtype), kBad, "bias", "bias has dtype {}, must be fp32, fp16 or bf16", name_of(t.bias.dtype));
  check_device(n, {"a", &t.a});
  check_data(n, require_data);
}

bool has_one_number(const TensorView& t) { return t.ndim == 1 && t.shape[0] == 1; }

/// Shape (..., rows, cols), with leading dimensions as those of d.
void check_block_scale(const Named& n, const TensorView& d, std::int64_t rows, std::int64_t cols, const char* dims) {
  const TensorView& t = *n.tensor;
  check(t.ndim >= 2 && t.ndim <= 2 + kMatmulBatchDims && rows_of(t) == rows && cols_of(t) == cols, kBad, n.name,
        "{} has shape {}, must be (1) or end in ({}, {}): {}", n.name, shape_text(t), rows, cols, dims);
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    check(leading_size(t, i) == 1 || leading_size(t, i) == leading_size(d, i), kBad, n.name,
          "{} has shape {}, which does not fit d {}: each leading dimension must be that of d, 1, or missing", n.name,
          shape_text(t), shape_text(d));
  }
}

ScaleKind check_scales(const MatmulTensors& t, bool require_data) {
  bool per_block = false;
  for (const Named& n : {Named{"a_scale", &t.a_scale}, {"b_scale", &t.b_scale}}) {
    if (!n.tensor->present()) continue;
    check(t.a.dtype == DType::kE4M3, kBad, n.name,
          "{} is given but a has dtype {}; scales are for e4m3, give their product as alpha", n.name,
          name_of(t.a.dtype));
    check_extent(n);
    check(n.tensor->dtype == DType::kF32, kBad, n.name, "{} has dtype {}, must be fp32", n.name,
          name_of(n.tensor->dtype));
    check_device(n, {"a", &t.a});
    check_data(n, require_data);
    per_block |= !has_one_number(*n.tensor);
  }
  if (!per_block) {
    return t.a_scale.present() || t.b_scale.present() ? ScaleKind::kPerTensor : ScaleKind::kNone;
  }
  for (const Named& n : {Named{"a_scale", &t.a_scale}, {"b_scale", &t.b_scale}}) {
    check(n.tensor->present() && !has_one_number(*n.tensor), kBad, n.name,
          "{} is {} but the other scale is per block; give both per block of 128, or one number for each", n.name,
          n.tensor->present() ? "one number" : "missing");
  }
  const auto blocks = [](std::int64_t size) { return (size + kScaleBlock - 1) / kScaleBlock; };
  check_block_scale({"a_scale", &t.a_scale}, t.d, rows_of(t.a), blocks(cols_of(t.a)),
                    "the rows of a, and a number per 128 of k");
  check_block_scale({"b_scale", &t.b_scale}, t.d, blocks(rows_of(t.b)), blocks(cols_of(t.b)),
                    "a number per 128 of k and 128 columns of b");
  return ScaleKind::kPerBlock;
}

bool is_same_view(const TensorView& a, const TensorView& b) {
  if (a.data != b.data || a.dtype != b.dtype || a.ndim != b.ndim) return false;
  return std::equal(a.shape, a.shape + a.ndim, b.shape) && std::equal(a.strides, a.strides + a.ndim, b.strides);
}

void check_aliases(const MatmulTensors& t, bool has_c) {
  const TensorView absent;
  const bool c_is_d = has_c && is_same_view(t.c, t.d);
  const Named inputs[] = {{"a", &t.a},
                          {"b", &t.b},
                          {"bias", &t.bias},
                          {"c", has_c && !c_is_d ? &t.c : &absent},
                          {"a_scale", &t.a_scale},
                          {"b_scale", &t.b_scale}};
  check_output({"d", &t.d}, inputs);
}

void check_options(const MatmulOptions& o, const MatmulTensors& t) {
  check(o.activation <= Activation::kSilu, kBad, "activation", "activation must be none, relu, gelu or silu");
  check(o.math <= Math::kFast, kBad, "math", "math must be exact or fast");
  check(std::isfinite(o.alpha), kBad, "alpha", "alpha is {}, must be finite", o.alpha);
  check(std::isfinite(o.beta), kBad, "beta", "beta is {}, must be finite", o.beta);
  check(o.beta == 0.0f || t.c.present(), kBad, "c",
        "beta is {} but c is missing; give c (it may be d itself), or set beta to 0", o.beta);
  const MatmulTile& x = o.tile;
  const bool all = x.block_m > 0 && x.block_n > 0 && x.block_k > 0;
  const bool none = x.block_m == 0 && x.block_n == 0 && x.block_k == 0;
  check(all || none, kBad, "tile",
        "tile is block_m = {}, block_n = {}, block_k = {}; give all three, positive, or none for the library's choice",
        x.block_m, x.block_n, x.block_k);
  check(x.stages >= 0 && x.warps >= 0 && x.cluster_m >= 0 && x.cluster_n >= 0 && x.num_splits >= 0, kBad, "tile",
        "tile has stages = {}, warps = {}, cluster {} x {}, num_splits = {}; none may be negative, 0 leaves it to the "
        "library",
        x.stages, x.warps, x.cluster_m, x.cluster_n, x.num_splits);
}

/// A matrix with the strides of dimensions that have one element or none set to what is most regular.
struct Matrix {
  void* data = nullptr;
  Int64 rows = 0, cols = 0;
  Int64 stride_row = 0, stride_col = 0;
  Int64 stride_batch[kMatmulBatchDims] = {};  // outermost first

  explicit Matrix(const TensorView& t) : data(t.data), rows(rows_of(t)), cols(cols_of(t)) {
    stride_row = t.strides[t.ndim - 2];
    stride_col = t.strides[t.ndim - 1];
    regularize();
    for (int i = 0; i < kMatmulBatchDims; ++i) stride_batch[kMatmulBatchDims - 1 - i] = leading_stride(t, i);
  }
  void regularize() {
    if (rows <= 1 && stride_col != 1) stride_row = 1;
    if (cols <= 1 && (stride_row != 1 || rows <= 1)) stride_col = 1;
    if (rows <= 1 && stride_col == 1) stride_row = std::max<Int64>(cols, 1);
    if (cols <= 1 && stride_row == 1) stride_col = std::max<Int64>(rows, 1);
  }
  MatrixOrder order() const {
    return stride_col == 1   ? MatrixOrder::kRowMajor
           : stride_row == 1 ? MatrixOrder::kColumnMajor
                             : MatrixOrder::kStrided;
  }
  bool is_shared() const {
    return std::all_of(stride_batch, stride_batch + kMatmulBatchDims, [](Int64 s) { return s == 0; });
  }
};

struct Batch {
  Int64 sizes[kMatmulBatchDims] = {1, 1, 1};  // outermost first
};

/// Joins leading dimensions that every operand walks with one step, and moves what is left to the innermost places.
void join_batch(Batch& batch, std::span<Matrix* const> all) {
  if (batch.sizes[0] == 1 && batch.sizes[1] == 1 && batch.sizes[2] == 1) {
    for (Matrix* x : all) std::fill_n(x->stride_batch, kMatmulBatchDims, 0);
    return;
  }
  int kept = 0;
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    if (batch.sizes[i] == 1) continue;
    const bool joins = kept > 0 && std::all_of(all.begin(), all.end(), [&](const Matrix* x) {
                         return x->stride_batch[kept - 1] == x->stride_batch[i] * batch.sizes[i];
                       });
    const int to = joins ? kept - 1 : kept++;
    batch.sizes[to] = joins ? batch.sizes[to] * batch.sizes[i] : batch.sizes[i];
    for (Matrix* x : all) x->stride_batch[to] = x->stride_batch[i];
  }
  for (int to = kMatmulBatchDims - 1, from = kept - 1; to >= 0; --to, --from) {
    batch.sizes[to] = from >= 0 ? batch.sizes[from] : 1;
    for (Matrix* x : all) x->stride_batch[to] = from >= 0 ? x->stride_batch[from] : 0;
  }
}

/// One b for a batch of a: the rows of all products are rows of one, if they lie evenly. all: the matrices with those
/// rows first, then b and what goes with it.
void fold_rows(Batch& batch, std::span<Matrix* const> all, std::size_t with_rows) {
  constexpr int kInner = kMatmulBatchDims - 1;
  const Int64 copies = batch.sizes[kInner];
  const auto rows = all.first(with_rows);
  if (copies <= 1) return;
  for (const Matrix* x : all.subspan(with_rows)) {
    if (x->stride_batch[kInner] != 0) return;
  }
  for (const Matrix* x : rows) {
    const Int64 step = x->stride_batch[kInner];
    if (step == 0 || (x->rows != 1 && step != x->stride_row * x->rows) || copies * x->rows > kIntLimit) return;
  }
  for (Matrix* x : rows) {
    if (x->rows == 1) x->stride_row = x->stride_batch[kInner];
    x->rows *= copies;
    x->regularize();
  }
  batch.sizes[kInner] = 1;
  join_batch(batch, all);
}

int alignment_of(const Matrix& x, DType dtype, const Batch& batch) {
  const auto element = static_cast<std::uint64_t>(size_bytes(dtype));
  std::uint64_t bits = 128 | reinterpret_cast<std::uintptr_t>(x.data);
  if (x.rows > 1 && (x.stride_row != 1 || x.stride_col == 1))
    bits |= static_cast<std::uint64_t>(x.stride_row) * element;
  if (x.cols > 1 && x.stride_col != 1) bits |= static_cast<std::uint64_t>(x.stride_col) * element;
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    if (batch.sizes[i] > 1) bits |= static_cast<std::uint64_t>(x.stride_batch[i]) * element;
  }
  // Rows that lie on each other or run backwards are for kernels that take elements one by one.
  if ((x.rows > 1 && x.stride_row <= 0) || (x.cols > 1 && x.stride_col <= 0)) bits |= element;
  return static_cast<int>(bits & (~bits + 1));
}

/// Without a batch strides stay 0: copying what was just written waits for the stores, 10 ns a matrix.
void take_matrix(MatrixArgs& args, const Matrix& x, bool has_batch) {
  args.data = x.data, args.stride_row = x.stride_row, args.stride_col = x.stride_col;
  if (has_batch) std::copy(x.stride_batch, x.stride_batch + kMatmulBatchDims, args.stride_batch);
}

Batch batch_of(const TensorView& d) {
  Batch batch;
  std::int64_t count = 1;
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    batch.sizes[kMatmulBatchDims - 1 - i] = leading_size(d, i);
    check(!__builtin_mul_overflow(count, leading_size(d, i), &count) && count <= kIntLimit, kBad, "d",
          "d has shape {}: the batch has more than {} products; split it", shape_text(d), kIntLimit);
  }
  return batch;
}

void take_scale(ScaleArgs& args, const TensorView& t, ScaleKind kind, const Matrix& x, Int64 stride_line,
                Int64 stride_k) {
  args.data = t.present() ? static_cast<const float*>(t.data) : nullptr;
  if (kind != ScaleKind::kPerBlock) return;
  args.stride_line = stride_line, args.stride_k = stride_k;
  std::copy(x.stride_batch, x.stride_batch + kMatmulBatchDims, args.stride_batch);
}

void take_batch(MatmulCall& call, const Batch& batch) {
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    call.args.batch_sizes[i] = static_cast<int>(batch.sizes[i]);
    call.problem.batch *= call.args.batch_sizes[i];
    call.problem.batch_dims += batch.sizes[i] != 1;
  }
  call.args.batch = call.problem.batch;
}

MatmulCall call_of(const MatmulTensors& t, const MatmulOptions& o, bool has_c, ScaleKind scale) {
  Matrix a(t.a), b(t.b), d(t.d), c(has_c ? t.c : t.d);
  const bool per_block = scale == ScaleKind::kPerBlock;
  Matrix a_scale(per_block ? t.a_scale : t.a), b_scale(per_block ? t.b_scale : t.b);
  Batch batch = batch_of(t.d);
  for (const auto& [field, size] : {std::pair{"m", a.rows}, {"n", b.cols}, {"k", a.cols}}) {
    checked_int(size, kIntLimit, field);
  }
  Matrix* const all[] = {&a, &d, &c, &a_scale, &b, &b_scale};
  join_batch(batch, all);
  fold_rows(batch, all, 4);
  MatmulCall call;
  MatmulProblem& p = call.problem;
  MatmulArgs& args = call.args;
  p.device = t.a.device;
  p.dtype = t.a.dtype;
  p.d_dtype = t.d.dtype;
  p.m = args.m = static_cast<int>(a.rows);
  p.n = args.n = static_cast<int>(b.cols);
  p.k = args.k = static_cast<int>(a.cols);
  take_batch(call, batch);
  p.shares_a = p.batch > 1 && a.is_shared();
  p.shares_b = p.batch > 1 && b.is_shared();
  p.a_order = a.order(), p.b_order = b.order(), p.d_order = d.order();
  p.a_alignment_bytes = alignment_of(a, p.dtype, batch);
  p.b_alignment_bytes = alignment_of(b, p.dtype, batch);
  // The end of a row counts too: the copy engine may store more than the last element of one that ends elsewhere.
  const Int64 row_bytes = (p.d_order == MatrixOrder::kColumnMajor ? d.rows : d.cols) * size_bytes(p.d_dtype);
  p.d_alignment_bytes =
      std::min(alignment_of(d, p.d_dtype, batch), static_cast<int>((row_bytes | 128) & -(row_bytes | 128)));
  const bool has_batch = p.batch_dims > 0;
  take_matrix(args.a, a, has_batch);
  take_matrix(args.b, b, has_batch);
  p.scale = scale;
  take_scale(args.a_scale, t.a_scale, scale, a_scale, a_scale.stride_row, a_scale.stride_col);
  take_scale(args.b_scale, t.b_scale, scale, b_scale, b_scale.stride_col, b_scale.stride_row);
  args.d = d.data, args.d_stride_row = d.stride_row, args.d_stride_col = d.stride_col;
  if (has_batch) std::copy(d.stride_batch, d.stride_batch + kMatmulBatchDims, args.d_stride_batch);
  if (has_c) {
    p.has_c = true;
    p.c_dtype = t.c.dtype;
    p.c_order = c.order();
    p.d_alignment_bytes = std::min(p.d_alignment_bytes, alignment_of(c, p.c_dtype, batch));
    p.beta = args.beta = o.beta;
    take_matrix(args.c, c, has_batch);
  }
  if (t.bias.present()) {
    p.has_bias = true;
    p.bias_dtype = t.bias.dtype;
    args.bias = t.bias.data;
    args.bias_stride = t.bias.shape[0] > 1 ? t.bias.strides[0] : 1;
  }
  p.alpha = args.alpha = o.alpha;
  p.activation = o.activation;
  p.math = p.dtype == DType::kF32 ? o.math : Math::kExact;  // means something for fp32 only: one plan otherwise
  p.deterministic = o.deterministic;
  return call;
}

MatrixOrder exchanged(MatrixOrder order) {
  switch (order) {
    case MatrixOrder::kRowMajor: return MatrixOrder::kColumnMajor;
    case MatrixOrder::kColumnMajor: return MatrixOrder::kRowMajor;
    case MatrixOrder::kStrided: break;
  }
  return order;
}

}  // namespace

MatmulCall describe_matmul(const MatmulTensors& t, const MatmulOptions& options, bool require_data) {
  check_operand({"a", &t.a}, t.a, "(..., m, k)", require_data, /*may_be_fp8=*/true);
  check_operand({"b", &t.b}, t.a, "(..., k, n)", require_data, /*may_be_fp8=*/true);
  check_operand({"d", &t.d}, t.a, "(..., m, n)", require_data);
  check_options(options, t);
  const bool has_c = options.beta != 0.0f;
  if (has_c) check_operand({"c", &t.c}, t.a, "(..., m, n)", require_data);
  check_shapes(t, has_c);
  check_bias(t, require_data);
  const ScaleKind scale = check_scales(t, require_data);
  check_aliases(t, has_c);
  return call_of(t, options, has_c, scale);
}

MatmulProblem transposed(const MatmulProblem& problem) {
  MatmulProblem p = problem;
  std::swap(p.m, p.n);
  std::swap(p.shares_a, p.shares_b);
  p.a_order = exchanged(problem.b_order);
  p.b_order = exchanged(problem.a_order);
  p.d_order = exchanged(problem.d_order);
  p.c_order = exchanged(problem.c_order);
  std::swap(p.a_alignment_bytes, p.b_alignment_bytes);
  return p;
}

MatmulArgs transposed(const MatmulArgs& args) {
  MatmulArgs t = args;
  std::swap(t.m, t.n);
  std::swap(t.a, t.b);
  std::swap(t.a_scale, t.b_scale);
  for (MatrixArgs* x : {&t.a, &t.b, &t.c}) std::swap(x->stride_row, x->stride_col);
  std::swap(t.d_stride_row, t.d_stride_col);
  return t;
}

}  // namespace fovea
