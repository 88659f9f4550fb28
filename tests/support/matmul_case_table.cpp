// SPDX-License-Identifier: Apache-2.0
// The rows of the case table of matrix multiplication.
#include "tests/support/matmul_cases.h"

namespace fovea::testing {
namespace {

using Cases = std::vector<MatmulCase>;

void add_sizes(Cases& cases) {
  cases.push_back({.name = "one number", .m = 1, .n = 1, .k = 1});
  cases.push_back({.name = "no rows", .m = 0, .n = 5, .k = 7});
  cases.push_back({.name = "no columns", .m = 5, .n = 0, .k = 7});
  cases.push_back({.name = "empty sums", .m = 5, .n = 6, .k = 0});
  cases.push_back(
      {.name = "empty sums, but c and bias", .m = 5, .n = 6, .k = 0, .has_c = true, .has_bias = true, .beta = 0.5f});
  cases.push_back({.name = "one tile", .m = 64, .n = 64, .k = 64});
  cases.push_back({.name = "several tiles", .m = 256, .n = 384, .k = 192});
  cases.push_back({.name = "one row", .m = 1, .n = 300, .k = 517});
  cases.push_back({.name = "one column", .m = 300, .n = 1, .k = 517});
  cases.push_back({.name = "outer product", .m = 67, .n = 131, .k = 1});
  cases.push_back({.name = "primes", .m = 127, .n = 131, .k = 113});
  cases.push_back({.name = "one more than a tile", .m = 129, .n = 257, .k = 65});
  cases.push_back({.name = "one less than a tile", .m = 127, .n = 255, .k = 63});
  cases.push_back({.name = "few rows", .m = 7, .n = 512, .k = 768});
  cases.push_back({.name = "few columns", .m = 512, .n = 3, .k = 256});
  cases.push_back({.name = "long sums", .m = 33, .n = 34, .k = 5003});
  cases.push_back({.name = "long and wide", .m = 16, .n = 1030, .k = 2050, .quick = false});
  cases.push_back({.name = "odd everywhere", .m = 257, .n = 255, .k = 259, .quick = false});
}

void add_orders(Cases& cases) {
  for (const Order a : {Order::kRows, Order::kColumns}) {
    for (const Order b : {Order::kRows, Order::kColumns}) {
      for (const Order d : {Order::kRows, Order::kColumns}) {
        cases.push_back({.name = "order", .m = 96, .n = 80, .k = 72, .a_order = a, .b_order = b, .d_order = d});
        cases.push_back({.name = "odd order", .m = 97, .n = 83, .k = 71, .a_order = a, .b_order = b, .d_order = d});
      }
    }
  }
  for (const Order a : {Order::kGappyRows, Order::kGappyColumns, Order::kEverySecond}) {
    for (const Order b : {Order::kGappyRows, Order::kGappyColumns, Order::kEverySecond}) {
      cases.push_back({.name = "strides", .m = 66, .n = 70, .k = 75, .a_order = a, .b_order = b, .d_order = b});
    }
  }
  cases.push_back({.name = "a row of a transposed b", .m = 1, .n = 200, .k = 300, .b_order = Order::kColumns});
  cases.push_back({.name = "few rows, transposed b", .m = 5, .n = 129, .k = 700, .b_order = Order::kColumns});
  cases.push_back({.name = "few rows with gaps",
                   .m = 5,
                   .n = 129,
                   .k = 70,
                   .a_order = Order::kGappyRows,
                   .b_order = Order::kGappyRows});
}

void add_batches(Cases& cases) {
  cases.push_back({.name = "batch", .m = 65, .n = 66, .k = 67, .batch = {5}});
  cases.push_back({.name = "no batch", .m = 4, .n = 4, .k = 4, .batch = {0}});
  cases.push_back({.name = "many small", .m = 3, .n = 5, .k = 7, .batch = {37}});
  cases.push_back({.name = "two leading dimensions", .m = 17, .n = 33, .k = 20, .batch = {3, 4}});
  cases.push_back({.name = "three leading dimensions, gaps",
                   .m = 9,
                   .n = 10,
                   .k = 11,
                   .batch = {2, 3, 2},
                   .a_order = Order::kGappyRows,
                   .b_order = Order::kGappyColumns,
                   .d_order = Order::kGappyRows});
}

void add_shared_operands(Cases& cases) {
  cases.push_back({.name = "one b for all",
                   .m = 20,
                   .n = 40,
                   .k = 30,
                   .batch = {6},
                   .batch_a = {6},
                   .batch_b = {},
                   .differs = true});
  cases.push_back({.name = "one b for all, rows with gaps",
                   .m = 20,
                   .n = 40,
                   .k = 30,
                   .batch = {6},
                   .batch_a = {6},
                   .batch_b = {1},
                   .differs = true,
                   .a_order = Order::kGappyRows,
                   .d_order = Order::kGappyRows});
  cases.push_back({.name = "vectors times one b",
                   .m = 1,
                   .n = 40,
                   .k = 30,
                   .batch = {9},
                   .batch_a = {9},
                   .batch_b = {},
                   .differs = true});
  cases.push_back({.name = "one a for all",
                   .m = 20,
                   .n = 40,
                   .k = 30,
                   .batch = {6},
                   .batch_a = {},
                   .batch_b = {6},
                   .differs = true});
  cases.push_back({.name = "b shared along the outer dimension",
                   .m = 12,
                   .n = 13,
                   .k = 14,
                   .batch = {3, 4},
                   .batch_a = {3, 4},
                   .batch_b = {1, 4},
                   .differs = true});
  cases.push_back({.name = "b shared along the inner dimension",
                   .m = 12,
                   .n = 13,
                   .k = 14,
                   .batch = {3, 4},
                   .batch_a = {3, 4},
                   .batch_b = {3, 1},
                   .differs = true});
}

void add_epilogues(Cases& cases, DType dtype) {
  for (const DType out : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (out != (dtype == DType::kE4M3 ? DType::kBF16 : dtype))
      cases.push_back({.name = "other output", .m = 70, .n = 75, .k = 80, .d_dtype = out});
  }
  for (const Activation x : {Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
    cases.push_back({.name = "activation", .m = 65, .n = 67, .k = 40, .activation = x});
    cases.push_back({.name = "activation, d transposed",
                     .m = 65,
                     .n = 67,
                     .k = 40,
                     .d_order = Order::kColumns,
                     .has_bias = true,
                     .activation = x,
                     .alpha = 0.25f});
  }
  cases.push_back({.name = "bias", .m = 65, .n = 67, .k = 40, .has_bias = true});
  cases.push_back({.name = "fp32 bias", .m = 65, .n = 67, .k = 40, .bias_dtype = DType::kF32, .has_bias = true});
  cases.push_back({.name = "bias in a batch", .m = 10, .n = 21, .k = 40, .batch = {4}, .has_bias = true});
  cases.push_back({.name = "alpha", .m = 65, .n = 67, .k = 40, .alpha = -1.5f});
  cases.push_back({.name = "alpha of 0", .m = 65, .n = 67, .k = 40, .alpha = 0.0f});
  cases.push_back({.name = "alpha and beta", .m = 65, .n = 67, .k = 40, .has_c = true, .alpha = 0.5f, .beta = 2.0f});
  cases.push_back({.name = "c is d", .m = 65, .n = 67, .k = 40, .has_c = true, .c_is_d = true, .beta = 1.0f});
  cases.push_back({.name = "c is d, long sums",
                   .m = 65,
                   .n = 67,
                   .k = 3000,
                   .has_c = true,
                   .c_is_d = true,
                   .beta = 1.0f,
                   .quick = false});
  cases.push_back({.name = "c is d, transposed, batch",
                   .m = 65,
                   .n = 67,
                   .k = 40,
                   .batch = {3},
                   .d_order = Order::kColumns,
                   .has_c = true,
                   .c_is_d = true,
                   .beta = -1.0f});
  cases.push_back({.name = "fp32 c", .m = 65, .n = 67, .k = 40, .c_dtype = DType::kF32, .has_c = true, .beta = 1.0f});
  cases.push_back({.name = "everything",
                   .m = 130,
                   .n = 131,
                   .k = 600,
                   .batch = {2},
                   .a_order = Order::kGappyColumns,
                   .d_order = Order::kGappyRows,
                   .has_c = true,
                   .has_bias = true,
                   .activation = Activation::kGelu,
                   .alpha = 0.05f,
                   .beta = -0.5f});
}

void add_values(Cases& cases) {
  cases.push_back({.name = "large values", .m = 65, .n = 67, .k = 140, .fill = MatmulFill::kLarge});
  cases.push_back({.name = "tiny values", .m = 65, .n = 67, .k = 140, .fill = MatmulFill::kTiny});
  cases.push_back({.name = "NaN and infinity", .m = 65, .n = 67, .k = 140, .fill = MatmulFill::kNan});
  cases.push_back(
      {.name = "NaN, relu", .m = 65, .n = 67, .k = 14, .activation = Activation::kRelu, .fill = MatmulFill::kNan});
  cases.push_back({.name = "integers are exact", .m = 65, .n = 67, .k = 100, .fill = MatmulFill::kIntegers});
}

/// Every case again with scales per block, every fourth with scales of the whole operands; b the other way round, as
/// matrix units want it.
void add_scales(Cases& cases) {
  const std::size_t count = cases.size();
  for (std::size_t i = 0; i < count; ++i) {
    MatmulCase c = cases[i];
    if (c.b_order == Order::kRows || c.b_order == Order::kColumns) {
      c.b_order = c.b_order == Order::kRows ? Order::kColumns : Order::kRows;
    }
    c.scale = ScaleKind::kPerBlock;
    cases.push_back(c);
    c.scale = ScaleKind::kPerTensor;
    if (i % 4 == 0) cases.push_back(c);
  }
}

}  // namespace

std::vector<MatmulCase> matmul_cases(DType dtype, Math math) {
  Cases cases;
  add_sizes(cases);
  add_orders(cases);
  add_batches(cases);
  add_shared_operands(cases);
  add_epilogues(cases, dtype);
  add_values(cases);
  for (MatmulCase& c : cases) c.dtype = dtype, c.math = math;
  if (dtype == DType::kE4M3) add_scales(cases);
  return cases;
}

}  // namespace fovea::testing
