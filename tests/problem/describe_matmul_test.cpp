// SPDX-License-Identifier: Apache-2.0
// Every misuse of a matrix product is one error that names the operand, and batches are joined and folded where strides
// allow.
#include "problem/describe_matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "fovea/error.h"

namespace fovea {
namespace {

/// A legal call on real memory, to be spoilt in one place: a (4, 3, 5), b (4, 5, 7), d (4, 3, 7).
struct Call {
  std::vector<float> memory = std::vector<float>(5 * 1024);
  MatmulTensors t;
  MatmulOptions o;
  Call() {
    t.a = TensorView::contiguous(memory.data(), DType::kF32, {4, 3, 5});
    t.b = TensorView::contiguous(memory.data() + 1024, DType::kF32, {4, 5, 7});
    t.d = TensorView::contiguous(memory.data() + 2048, DType::kF32, {4, 3, 7});
    t.c = TensorView::contiguous(memory.data() + 3072, DType::kF32, {4, 3, 7});
    t.bias = TensorView::contiguous(memory.data() + 4096, DType::kF32, {7});
    o.beta = 1.0f;
  }
};

struct Misuse {
  const char* name;
  const char* field;
  const char* text;  // must be in the message
  std::function<void(Call&)> spoil;
};

constexpr auto kHuge = std::numeric_limits<std::int64_t>::max() / 2;

const Misuse kMisuses[] = {
    {"no a", "a", "missing", [](Call& c) { c.t.a = {}; }},
    {"no d", "d", "missing", [](Call& c) { c.t.d = {}; }},
    {"vector", "b", "must have 2 to 5", [](Call& c) { c.t.b = TensorView::contiguous(c.t.b.data, DType::kF32, {5}); }},
    {"inner sizes", "b", "(4, 6, 7) and a (4, 3, 5): b must have as many rows as a has columns (5)",
     [](Call& c) {
       c.t.b = TensorView::contiguous(c.t.b.data, DType::kF32, {4, 6, 7});
     }},
    {"rows of d", "d", "must end in (3, 7)", [](Call& c) { c.t.d.shape[1] = 2; }},
    {"columns of d", "d", "must end in (3, 7)", [](Call& c) { c.t.d.shape[2] = 6; }},
    {"batch of a", "a", "does not fit d (4, 3, 7)", [](Call& c) { c.t.a.shape[0] = 2; }},
    {"batch of d shared", "a", "does not fit d (1, 3, 7)", [](Call& c) { c.t.d.shape[0] = 1; }},
    {"dtypes differ", "b", "b has dtype bf16 but a has fp32", [](Call& c) { c.t.b.dtype = DType::kBF16; }},
    {"integers", "a", "must be fp32, fp16, bf16 or e4m3", [](Call& c) { c.t.a.dtype = DType::kI32; }},
    {"integer output", "d", "must be fp32, fp16 or bf16", [](Call& c) { c.t.d.dtype = DType::kI32; }},
    {"device", "b", "another device",
     [](Call& c) {
       c.t.b.device = {DeviceKind::kCUDA, 0};
     }},
    {"device of bias", "bias", "another device",
     [](Call& c) {
       c.t.bias.device = {DeviceKind::kCUDA, 1};
     }},
    {"null data", "a", "null data", [](Call& c) { c.t.a.data = nullptr; }},
    {"negative size", "a", "must not be negative", [](Call& c) { c.t.a.shape[0] = -1; }},
    {"negative stride", "b", "negative stride", [](Call& c) { c.t.b.strides[1] = -1; }},
    {"overflow", "a", "2^60", [](Call& c) { c.t.a.strides[0] = kHuge; }},
    {"misaligned", "d", "multiple of its 4-byte elements",
     [](Call& c) { c.t.d.data = static_cast<char*>(c.t.d.data) + 1; }},
    {"bias length", "bias", "must be (7,)", [](Call& c) { c.t.bias.shape[0] = 3; }},
    {"bias rank", "bias", "must be (7,)",
     [](Call& c) {
       c.t.bias = TensorView::contiguous(c.t.bias.data, DType::kF32, {1, 7});
     }},
    {"beta without c", "c", "c is missing", [](Call& c) { c.t.c = {}; }},
    {"shape of c", "c", "must be that of d", [](Call& c) { c.t.c.shape[2] = 5; }},
    {"d is a", "d", "overlaps a", [](Call& c) { c.t.d.data = c.t.a.data; }},
    {"d overlaps b", "d", "overlaps b", [](Call& c) { c.t.d.data = static_cast<float*>(c.t.b.data) + 100; }},
    {"d overlaps bias", "d", "overlaps bias", [](Call& c) { c.t.bias.data = c.t.d.data; }},
    {"d overlaps c but is not c", "d", "overlaps c", [](Call& c) { c.t.c.data = static_cast<float*>(c.t.d.data) + 7; }},
    {"one d for a batch", "d", "stride 0", [](Call& c) { c.t.d.strides[0] = 0; }},
    {"two of three blocks", "tile", "give all three", [](Call& c) { c.o.tile.block_m = c.o.tile.block_n = 64; }},
    {"negative block", "tile", "give all three",
     [](Call& c) {
       c.o.tile = {-64, 64, 64};
     }},
    {"negative stages", "tile", "none may be negative", [](Call& c) { c.o.tile.stages = -1; }},
    {"alpha", "alpha", "must be finite", [](Call& c) { c.o.alpha = NAN; }},
    {"beta", "beta", "must be finite", [](Call& c) { c.o.beta = INFINITY; }},
    {"activation", "activation", "must be", [](Call& c) { c.o.activation = static_cast<Activation>(9); }},
};

TEST(DescribeMatmul, every_misuse_is_one_error_that_names_the_operand) {
  for (const Misuse& misuse : kMisuses) {
    Call call;
    misuse.spoil(call);
    try {
      describe_matmul(call.t, call.o);
      ADD_FAILURE() << misuse.name << ": accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << misuse.name;
      EXPECT_EQ(error.field(), misuse.field) << misuse.name << ": " << error.what();
      EXPECT_NE(std::string(error.what()).find(misuse.text), std::string::npos) << misuse.name << ": " << error.what();
    }
  }
}

TEST(DescribeMatmul, a_legal_call_is_described) {
  Call c;
  const MatmulProblem p = describe_matmul(c.t, c.o).problem;
  EXPECT_EQ(to_string(p), "matmul fp32 b=4 m=3 n=7 k=5 nn beta=1 bias");
  EXPECT_EQ(matmul_flops(p), 2.0 * 4 * 3 * 7 * 5);
  EXPECT_EQ(p.a_alignment_bytes, 4);
}

TEST(DescribeMatmul, c_is_not_looked_at_when_beta_is_0) {
  Call c;
  c.o.beta = 0.0f;
  c.t.c.shape[2] = 1000;
  EXPECT_FALSE(describe_matmul(c.t, c.o).problem.has_c);
}

TEST(DescribeMatmul, c_may_be_exactly_d) {
  Call c;
  c.t.c = c.t.d;
  EXPECT_TRUE(describe_matmul(c.t, c.o).problem.has_c);
}

TEST(DescribeMatmul, orders_are_told_by_strides) {
  Call c;
  std::swap(c.t.b.strides[1], c.t.b.strides[2]);
  c.t.b.strides[2] = 5;
  c.t.a.strides[0] = 30, c.t.a.strides[1] = 10, c.t.a.strides[2] = 2;
  const MatmulProblem p = describe_matmul(c.t, c.o).problem;
  EXPECT_EQ(p.a_order, MatrixOrder::kStrided);
  EXPECT_EQ(p.b_order, MatrixOrder::kColumnMajor);
  EXPECT_EQ(p.d_order, MatrixOrder::kRowMajor);
}

TEST(DescribeMatmul, a_batch_that_shares_b_becomes_rows) {
  Call c;
  c.t.b = TensorView::contiguous(c.t.b.data, DType::kF32, {5, 7});
  const MatmulCall call = describe_matmul(c.t, c.o);
  EXPECT_EQ(call.problem.batch, 1);
  EXPECT_EQ(call.problem.m, 12);
  EXPECT_EQ(call.args.a.stride_row, 5);
  c.t.a.strides[0] += 1;  // a gap between the matrices
  EXPECT_EQ(describe_matmul(c.t, c.o).problem.m, 3);
}

TEST(DescribeMatmul, leading_dimensions_are_joined_where_one_stride_walks_them) {
  Call c;
  c.t.a = TensorView::contiguous(c.t.a.data, DType::kF32, {2, 3, 4, 3, 5});
  c.t.b = TensorView::contiguous(c.t.b.data, DType::kF32, {2, 3, 4, 5, 7});
  c.t.d = TensorView::contiguous(c.t.d.data, DType::kF32, {2, 3, 4, 3, 7});
  c.o.beta = 0.0f;
  MatmulCall call = describe_matmul(c.t, c.o);
  EXPECT_EQ(call.problem.batch_dims, 1);
  EXPECT_EQ(call.args.batch_sizes[2], 24);
  c.t.b = TensorView::contiguous(c.t.b.data, DType::kF32, {2, 1, 4, 5, 7});
  call = describe_matmul(c.t, c.o);
  EXPECT_EQ(call.problem.batch, 24);
  EXPECT_EQ(call.problem.batch_dims, 3);
  // Copy (1, 2, 3) of a and the b that it shares with (1, 0, 3).
  EXPECT_EQ(batch_offset(call.args, call.args.a.stride_batch, 23), 23 * 15);
  EXPECT_EQ(batch_offset(call.args, call.args.b.stride_batch, 23), 7 * 35);
}

/// e4m3 operands (3, 300) and (300, 200) for d of bf16; scales per block.
struct Fp8Call {
  std::vector<float> memory = std::vector<float>(1 << 16);
  MatmulTensors t;
  Fp8Call() {
    t.a = TensorView::contiguous(memory.data(), DType::kE4M3, {3, 300});
    t.b = TensorView::contiguous(memory.data() + 1000, DType::kE4M3, {300, 200});
    t.d = TensorView::contiguous(memory.data() + 20000, DType::kBF16, {3, 200});
    t.a_scale = TensorView::contiguous(memory.data() + 30000, DType::kF32, {3, 3});
    t.b_scale = TensorView::contiguous(memory.data() + 31000, DType::kF32, {3, 2});
  }
};

TEST(DescribeMatmul, scales_are_told_by_their_shapes) {
  Fp8Call c;
  const MatmulCall call = describe_matmul(c.t, {});
  EXPECT_EQ(to_string(call.problem), "matmul e4m3 m=3 n=200 k=300 nn -> bf16 block-scaled");
  EXPECT_EQ(call.args.b_scale.stride_k, 2);
  EXPECT_EQ(transposed(call.args).a_scale.stride_k, 2);
  c.t.a_scale = TensorView::contiguous(c.t.a_scale.data, DType::kF32, {1});
  c.t.b_scale = {};
  const MatmulCall one = describe_matmul(c.t, {});
  EXPECT_EQ(one.problem.scale, ScaleKind::kPerTensor);
  EXPECT_EQ(one.args.b_scale.data, nullptr);
  EXPECT_NE(hash_of(one.problem), hash_of(call.problem));
}

TEST(DescribeMatmul, a_batch_becomes_rows_only_if_its_scales_do) {
  Fp8Call c;
  c.t.a = TensorView::contiguous(c.t.a.data, DType::kE4M3, {2, 3, 300});
  c.t.d = TensorView::contiguous(c.t.d.data, DType::kBF16, {2, 3, 200});
  c.t.a_scale = TensorView::contiguous(c.t.a_scale.data, DType::kF32, {2, 3, 3});
  const MatmulCall call = describe_matmul(c.t, {});
  EXPECT_EQ(call.problem.m, 6);
  EXPECT_EQ(call.args.a_scale.stride_line, 3);
  c.t.a_scale.strides[0] = 10;
  EXPECT_EQ(describe_matmul(c.t, {}).problem.m, 3);
  c.t.a_scale.strides[0] = 9;
  c.t.b_scale = TensorView::contiguous(c.t.b_scale.data, DType::kF32, {2, 3, 2});
  EXPECT_EQ(describe_matmul(c.t, {}).problem.batch, 2);
}

TEST(DescribeMatmul, misuse_of_fp8_is_one_error_that_names_the_operand) {
  const struct {
    const char *field, *text;
    void (*spoil)(MatmulTensors& t);
  } misuses[] = {
      {"d", "d has dtype e4m3, must be fp32, fp16 or bf16", [](auto& t) { t.d.dtype = DType::kE4M3; }},
      {"b", "b has dtype bf16 but a has e4m3", [](auto& t) { t.b.dtype = DType::kBF16; }},
      {"a_scale", "a_scale has dtype bf16, must be fp32", [](auto& t) { t.a_scale.dtype = DType::kBF16; }},
      {"a_scale", "must be (1) or end in (3, 3)", [](auto& t) { t.a_scale.shape[1] = 2; }},
      {"b_scale", "must be (1) or end in (3, 2)", [](auto& t) { t.b_scale.shape[0] = 2; }},
      {"b_scale", "b_scale is missing but the other scale is per block", [](auto& t) { t.b_scale = {}; }},
      {"b_scale", "null data", [](auto& t) { t.b_scale.data = nullptr; }},
      {"a_scale", "another device", [](auto& t) { t.a_scale.device.kind = DeviceKind::kCUDA; }},
      {"d", "overlaps b_scale", [](auto& t) { t.b_scale.data = t.d.data; }},
      {"a_scale", "scales are for e4m3", [](auto& t) { t.a.dtype = t.b.dtype = DType::kF16; }},
  };
  for (const auto& misuse : misuses) {
    Fp8Call c;
    misuse.spoil(c.t);
    try {
      describe_matmul(c.t, {});
      ADD_FAILURE() << misuse.text << ": accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.field(), misuse.field) << error.what();
      EXPECT_NE(std::string(error.what()).find(misuse.text), std::string::npos) << error.what();
    }
  }
}

TEST(DescribeMatmul, transposing_twice_changes_nothing) {
  Call c;
  const MatmulCall call = describe_matmul(c.t, c.o);
  EXPECT_EQ(transposed(transposed(call.problem)), call.problem);
  const MatmulArgs once = transposed(call.args);
  EXPECT_EQ(once.m, 7);
  EXPECT_EQ(once.a.stride_row, call.args.b.stride_col);
}

}  // namespace
}  // namespace fovea
