// SPDX-License-Identifier: Apache-2.0
#include "matmul/operand_copies.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/math.h"
#include "contract/dtype.h"

namespace fovea {
namespace {

/// Words of 16 bytes that the kernel counts; its last block counts beyond them.
constexpr std::int64_t kMaxUnits = (std::int64_t{1} << 31) - kCopyThreads * kCopyWords;

/// By the times of 212 products on an H200, the L2 cache cold (docs/kernels/matmul_sm90.md). A launch took 1.7 us; with
/// .7 more the choice between copies and mma.sync is right.
constexpr double kCopyLaunchUs = 2.4;
constexpr double kCopyBytesPerUs = 4.0e6;  // read and written
/// Beyond this a product that starts under the copy takes 1.3 % longer (4095 and 6001 cubed), below it .3 us less.
constexpr std::int64_t kMostOverlappedBytes = std::int64_t{32} << 20;

constexpr MatrixOrder kKMajorA = MatrixOrder::kRowMajor, kKMajorB = MatrixOrder::kColumnMajor;

/// Lines of the copy and elements of a line. rows: m of a, n of b.
struct Lines {
  int lines, length;
};
Lines lines_of(MatrixOrder order, MatrixOrder k_major, int rows, int k) {
  return order == k_major ? Lines{rows, k} : Lines{k, rows};
}

std::int64_t line_bytes(const Lines& l, DType dtype) {
  return round_up(std::int64_t{l.length} * size_bytes(dtype), kCopyLineBytes);
}

/// One operand of a problem, in terms that do not know which.
struct Operand {
  const char* name;
  CopiedOperand copied;
  Lines lines;
  std::int64_t matrices;
};
struct Operands {
  Operand all[2];
};
Operands operands_of(const MatmulProblem& p) {
  const CopiedOperands c = copied_operands(p);
  return {{{"a", c.a, lines_of(c.a.order, kKMajorA, p.m, p.k), p.shares_a ? 1 : p.batch},
           {"b", c.b, lines_of(c.b.order, kKMajorB, p.n, p.k), p.shares_b ? 1 : p.batch}}};
}

}  // namespace

CopiedOperands copied_operands(const MatmulProblem& p) {
  const auto decide = [&p](MatrixOrder order, MatrixOrder k_major, int alignment) {
    const bool wants_k = order == MatrixOrder::kStrided || (p.dtype == DType::kE4M3 && order != k_major);
    return CopiedOperand{wants_k || alignment < 16, wants_k, wants_k ? k_major : order};
  };
  CopiedOperands c = {decide(p.a_order, kKMajorA, p.a_alignment_bytes),
                      decide(p.b_order, kKMajorB, p.b_alignment_bytes)};
  // 32-bit elements: one operand at least with k contiguous. Of two that are equally good to copy the smaller one.
  if (p.dtype == DType::kF32 && c.a.order != kKMajorA && c.b.order != kKMajorB) {
    const double a = static_cast<double>(p.m) * (p.shares_a ? 1 : p.batch);
    const double b = static_cast<double>(p.n) * (p.shares_b ? 1 : p.batch);
    const bool takes_a = c.a.is_copied != c.b.is_copied ? c.a.is_copied : a <= b;
    (takes_a ? c.a : c.b) = {true, true, takes_a ? kKMajorA : kKMajorB};
  }
  return c;
}

MatmulProblem with_copies(const MatmulProblem& problem) {
  const CopiedOperands c = copied_operands(problem);
  MatmulProblem p = problem;
  p.a_order = c.a.order, p.b_order = c.b.order;
  if (c.a.is_copied) p.a_alignment_bytes = kCopyLineBytes;
  if (c.b.is_copied) p.b_alignment_bytes = kCopyLineBytes;
  return p;
}

std::int64_t copied_bytes(const MatmulProblem& p) {
  std::int64_t bytes = 0;
  for (const Operand& x : operands_of(p).all) {
    if (x.copied.is_copied) bytes += x.matrices * x.lines.lines * line_bytes(x.lines, p.dtype);
  }
  return bytes;
}

std::string copies_illegal(const MatmulProblem& p) {
  for (const Operand& x : operands_of(p).all) {
    const auto words = checked_product({x.matrices, x.lines.lines, line_bytes(x.lines, p.dtype) / 16});
    if (x.copied.is_copied && (!words || *words > kMaxUnits))
      return fmt::format("the copy engine cannot read {}, and a copy would have more than {} bytes", x.name,
                         16 * kMaxUnits);
  }
  return {};
}

double copies_us(const MatmulProblem& p) {
  double us = 0;
  for (const Operand& x : operands_of(p).all) {
    if (!x.copied.is_copied) continue;
    const double bytes = static_cast<double>(x.matrices) * x.lines.lines * x.lines.length * size_bytes(p.dtype);
    us += 2 * bytes / kCopyBytesPerUs;
  }
  return us > 0 ? kCopyLaunchUs + us : 0;
}

std::string copies_text(const MatmulProblem& p) {
  const CopiedOperands c = copied_operands(p);
  const auto how = [](const CopiedOperand& x) { return x.is_transposed ? "with k contiguous" : "to aligned rows"; };
  if (!c.any()) return {};
  std::string text = !c.b.is_copied                           ? fmt::format("a copied {}", how(c.a))
                     : !c.a.is_copied                         ? fmt::format("b copied {}", how(c.b))
                     : c.a.is_transposed == c.b.is_transposed ? fmt::format("a and b copied {}", how(c.a))
                                                              : fmt::format("a copied {} and b {}", how(c.a), how(c.b));
  return fmt::format(", {} first (up to {:.3g} MB)", text, static_cast<double>(copied_bytes(p)) / 1e6);
}

jit::Unit copies_unit(const MatmulProblem& p) {
  const CopiedOperands c = copied_operands(p);
  const auto has = [&c](bool transposed) {
    return (c.a.is_copied && c.a.is_transposed == transposed) || (c.b.is_copied && c.b.is_transposed == transposed);
  };
  jit::Unit unit;
  unit.entry = "matmul_copy_operands";
  unit.header = "kernels/matmul/copy_operands.cuh";
  unit.config =
      fmt::format("OperandCopyConfig{{.element_bytes = {}, .has_lines = {}, .has_tiles = {}, .has_batch = {}}}",
                  size_bytes(p.dtype), has(false), has(true), p.batch > 1);
  unit.parameters = "const __grid_constant__ OperandCopies copies";
  unit.body = "matmul_copy_operands<config>(copies);";
  unit.threads = kCopyThreads;
  return unit;
}

namespace {

/// Of the matrices that the operand has: sizes of the batch, 1 where it is shared.
int take_batch(OperandCopy& copy, const MatmulArgs& args, const MatrixArgs& x, std::int64_t element) {
  int matrices = 1;
  for (int i = 0; i < kMatmulBatchDims; ++i) {
    if (args.batch_sizes[i] <= 1 || x.stride_batch[i] == 0) continue;
    copy.batch_sizes[i] = args.batch_sizes[i];
    copy.from_batch_bytes[i] = x.stride_batch[i] * element;
    matrices *= copy.batch_sizes[i];
  }
  return matrices;
}

/// Words of 16 bytes, or tiles.
void take_units(OperandCopy& copy, int matrices, int element) {
  const auto by = [](int d) { return Divisor(static_cast<unsigned>(d)); };
  if (copy.is_transposed) {
    copy.units_of_line = ceil_div(copy.lines, kCopyTileBytes / element);
    copy.units_of_matrix = copy.units_of_line * ceil_div(copy.length, kCopyTileBytes / element);
    copy.of_line = by(copy.units_of_line), copy.of_matrix = by(copy.units_of_matrix);
  } else {
    copy.units_of_line = ceil_div(copy.length, 16 / element);
    copy.units_of_matrix = copy.units_of_line * copy.lines;
    copy.of_line = by(copy.units_of_line), copy.of_matrix = by(copy.lines);
  }
  copy.units = matrices * copy.units_of_matrix;
  copy.of_inner = by(copy.batch_sizes[2]), copy.of_middle = by(copy.batch_sizes[1]);
}

OperandCopy copy_of(const MatmulArgs& args, const MatrixArgs& x, const CopiedOperand& c, const Lines& l, DType dtype) {
  const int element = size_bytes(dtype);
  const bool lines_are_rows = c.order == MatrixOrder::kRowMajor;
  OperandCopy copy;
  copy.lines = l.lines, copy.length = l.length;
  copy.is_transposed = c.is_transposed;
  copy.from = static_cast<const char*>(x.data);
  copy.from_line_bytes = (lines_are_rows ? x.stride_row : x.stride_col) * element;
  copy.from_element_bytes = (lines_are_rows ? x.stride_col : x.stride_row) * element;
  copy.to_line_bytes = line_bytes(l, dtype);
  take_units(copy, take_batch(copy, args, x, element), element);
  // Address arithmetic as of integers: an operand may begin anywhere, and strides may be negative.
  const auto reach = [](Int64 size, Int64 step) { return std::max<Int64>((size - 1) * step, 0); };
  Int64 end = element + reach(copy.lines, copy.from_line_bytes) + reach(copy.length, copy.from_element_bytes);
  for (int i = 0; i < kMatmulBatchDims; ++i) end += reach(copy.batch_sizes[i], copy.from_batch_bytes[i]);
  copy.end = copy.from + end;
  return copy;
}

std::int64_t blocks_of(const OperandCopy& copy) {
  constexpr std::int64_t kWords = std::int64_t{kCopyThreads} * kCopyWords;
  return copy.is_transposed ? copy.units : (copy.units + kWords - 1) / kWords;
}

std::int64_t bytes_of(const OperandCopy& copy) {
  return static_cast<std::int64_t>(copy.units / copy.units_of_matrix) * copy.lines * copy.to_line_bytes;
}

}  // namespace

OperandCopyPlan plan_copies(const CopiedOperands& copied, DType dtype, const MatmulArgs& args) {
  OperandCopyPlan plan;
  int count = 0;
  const auto add = [&](const MatrixArgs& x, const CopiedOperand& c, MatrixOrder k_major, int rows) {
    if (!c.is_copied) return;
    OperandCopy& copy = plan.copies.copy[count++];
    copy = copy_of(args, x, c, lines_of(c.order, k_major, rows, args.k), dtype);
    plan.blocks += blocks_of(copy);
    plan.bytes += bytes_of(copy);
    if (count == 1) plan.copies.first_blocks = static_cast<int>(plan.blocks);
  };
  add(args.a, copied.a, kKMajorA, args.m);
  add(args.b, copied.b, kKMajorB, args.n);
  plan.copies.starts_product = plan.bytes <= kMostOverlappedBytes;
  return plan;
}

void take_copies(const CopiedOperands& copied, DType dtype, OperandCopyPlan& plan, char* workspace, MatmulArgs& args) {
  int count = 0;
  const auto take = [&](MatrixArgs& x, const CopiedOperand& c) {
    if (!c.is_copied) return;
    OperandCopy& copy = plan.copies.copy[count++];
    copy.to = workspace;
    workspace += bytes_of(copy);
    x.data = copy.to;
    const Int64 line = copy.to_line_bytes / size_bytes(dtype);
    x.stride_row = c.order == MatrixOrder::kRowMajor ? line : 1;
    x.stride_col = c.order == MatrixOrder::kRowMajor ? 1 : line;
    Int64 step = line * copy.lines;
    for (int i = kMatmulBatchDims - 1; i >= 0; --i) {
      x.stride_batch[i] = copy.batch_sizes[i] > 1 ? step : 0;
      step *= copy.batch_sizes[i];
    }
  };
  take(args.a, copied.a);
  take(args.b, copied.b);
}

}  // namespace fovea
