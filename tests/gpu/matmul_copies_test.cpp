// SPDX-License-Identifier: Apache-2.0
// Products whose operands matmul_sm90 copies first: every layout, alignment, batch and dtype, by exact sums of
// integers; operands that end where memory does; graphs, calls in a row, and copies beside the sums of shared tiles.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/math.h"
#include "contract/dtype.h"
#include "tests/gpu/matmul_on_gpu.h"

namespace fovea::testing {
namespace {

void run(const MatmulCase& c) {
  MatmulData data(c);
  data.options.kernel = "matmul_sm90";
  const ExpectedMatmul expected = expect(data);
  DeviceMatmul on_gpu(data);
  matmul(gpu().runtime, on_gpu.tensors(), data.options);
  on_gpu.fetch();
  EXPECT_EQ(judge(data, expected), "") << to_string(c);
}

class CopiedOperand : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  }
};
INSTANTIATE_TEST_SUITE_P(Dtypes, CopiedOperand,
                         ::testing::Values(Kind{DType::kF16}, Kind{DType::kBF16}, Kind{DType::kF32, Math::kFast},
                                           Kind{DType::kE4M3}, Kind{DType::kE4M3, Math::kExact, ScaleKind::kPerTensor},
                                           Kind{DType::kE4M3, Math::kExact, ScaleKind::kPerBlock}),
                         [](const auto& p) { return name_of_kind(p.param); });

constexpr Order kOrders[] = {Order::kRows, Order::kColumns, Order::kGappyRows, Order::kGappyColumns,
                             Order::kEverySecond};

TEST_P(CopiedOperand, is_right_in_every_layout_at_every_alignment) {
  for (const Order a : kOrders) {
    for (const Order b : kOrders) {
      // Rows at odd multiples of an element, of two, of four, of eight; then all rows aligned but for the base.
      for (const auto& [unit, shift] : {std::pair{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 1}, {16, 2}, {16, 4}, {1, 3}}) {
        MatmulCase c = exact_product(GetParam(), 5 * unit, 3 * unit, 9 * unit);
        if (unit == 1) c.m = 67, c.n = 41, c.k = 131;
        c.a_order = a, c.b_order = b;
        c.a_shift = shift, c.b_shift = shift / 2;
        run(c);
      }
    }
  }
}

TEST_P(CopiedOperand, is_right_in_a_batch) {
  int turn = 0;
  for (const Order a : {Order::kRows, Order::kColumns, Order::kEverySecond}) {
    for (const Order b : {Order::kRows, Order::kColumns, Order::kEverySecond}) {
      using Sizes = std::vector<int>;
      for (const auto& [batch_a, batch_b] : {std::pair{Sizes{3, 2}, Sizes{3, 2}},
                                             {Sizes{3, 1}, Sizes{2}},
                                             {Sizes{3, 2}, Sizes{}},
                                             {Sizes{}, Sizes{3, 2}}}) {
        MatmulCase c = exact_product(GetParam(), 19, 35, 67);
        c.a_order = a, c.b_order = b;
        c.batch = {3, 2};
        c.differs = true;
        c.batch_a = batch_a, c.batch_b = batch_b;
        c.a_shift = turn++ % 4, c.b_shift = turn % 3;
        run(c);
      }
    }
  }
}

TEST_P(CopiedOperand, is_right_at_the_edges) {
  for (const auto& [m, n, k] :
       {std::array{1, 1, 1}, {1, 129, 1}, {129, 1, 3}, {1, 1, 1031}, {3, 1025, 7}, {1025, 3, 257}}) {
    for (const Order order : {Order::kRows, Order::kColumns}) {
      MatmulCase c = exact_product(GetParam(), m, n, k);
      c.a_order = c.b_order = order;
      c.a_shift = c.b_shift = 1;
      run(c);
    }
  }
}

TEST_P(CopiedOperand, is_right_with_every_epilogue) {
  MatmulCase c = exact_product(GetParam(), 133, 75, 201);
  c.has_bias = c.has_c = true;
  c.alpha = 0.5f, c.beta = 2.0f;
  for (const Order order : {Order::kRows, Order::kColumns}) {
    c.a_order = order, c.d_order = order;
    for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu}) {
      c.activation = activation;
      c.fill = activation == Activation::kNone ? MatmulFill::kIntegers : MatmulFill::kNormal;
      run(c);
    }
  }
}

/// NaN and infinity reach what they belong to and nothing else: copies have other neighbours than operands.
TEST_P(CopiedOperand, spreads_no_nan) {
  for (const Order order : kOrders) {
    MatmulCase c = exact_product(GetParam(), 67, 41, 131);
    c.a_order = c.b_order = order;
    c.fill = MatmulFill::kNan;
    run(c);
  }
}

/// An operand of exactly this memory, whose last row ends with it.
void run_at_the_end_of_memory(DType dtype, bool a_is_transposed, bool b_is_transposed) {
  // 65 elements a line, and as many lines as make the memory a multiple of 256 bytes.
  const int lines = 256 / size_bytes(dtype), length = 65;
  const int m = a_is_transposed ? length : lines, k = a_is_transposed ? lines : length,
            n = b_is_transposed ? lines : length;
  if (b_is_transposed ? k != length : k != lines) return;  // b would be another size
  const auto ones = [&](std::size_t count) {
    std::vector<std::byte> bytes(count * static_cast<std::size_t>(size_bytes(dtype)));
    const std::uint16_t one16 = dtype == DType::kF16 ? float_to_fp16(1.0f) : float_to_bf16(1.0f);
    const std::uint8_t one8 = float_to_e4m3(1.0f);
    for (std::size_t i = 0; i < count; ++i) {
      if (dtype == DType::kE4M3) {
        std::memcpy(bytes.data() + i, &one8, 1);
      } else {
        std::memcpy(bytes.data() + 2 * i, &one16, 2);
      }
    }
    return bytes;
  };
  const DeviceCopy a(ones(static_cast<std::size_t>(m * k))), b(ones(static_cast<std::size_t>(k * n)));
  const DeviceCopy d(std::vector<float>(static_cast<std::size_t>(m * n), -1.0f));
  const Device device = {DeviceKind::kCUDA, 0};
  const auto view = [&](const DeviceCopy& x, int rows, int cols, bool is_transposed) {
    TensorView t =
        TensorView::contiguous(x.data(), dtype, {is_transposed ? cols : rows, is_transposed ? rows : cols}, device);
    if (is_transposed) std::swap(t.shape[0], t.shape[1]), std::swap(t.strides[0], t.strides[1]);
    return t;
  };
  MatmulTensors t;
  t.a = view(a, m, k, a_is_transposed);
  t.b = view(b, k, n, b_is_transposed);
  t.d = TensorView::contiguous(d.data(), DType::kF32, {m, n}, device);
  MatmulOptions options;
  options.kernel = "matmul_sm90";
  matmul(gpu().runtime, t, options);
  gpu().synchronize();
  for (const float x : d.values<float>()) {
    ASSERT_EQ(x, static_cast<float>(k)) << name_of(dtype) << " " << a_is_transposed << b_is_transposed;
  }
}

TEST(CopiedOperands, are_not_read_beyond_their_end) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  for (const DType dtype : {DType::kBF16, DType::kE4M3}) {
    for (const bool a : {false, true}) {
      for (const bool b : {false, true}) run_at_the_end_of_memory(dtype, a, b);
    }
  }
}

MatmulCase odd_product() {
  MatmulCase c = exact_product({DType::kBF16}, 203, 203, 203);
  c.fill = MatmulFill::kNormal;
  return c;
}

std::vector<std::byte> run_once(const std::function<void(const MatmulTensors&, const MatmulOptions&)>& call) {
  MatmulData data(odd_product());
  data.options.kernel = "matmul_sm90";
  DeviceMatmul on_gpu(data);
  call(on_gpu.tensors(), data.options);
  on_gpu.fetch();
  return data.d.bytes;
}

TEST(CopiedOperands, are_copied_again_by_every_replay_of_a_graph) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  const OwnStream stream;
  const auto expected = run_once([&](const auto& t, const auto& o) {
    matmul(gpu().runtime, t, o, stream);
    gpu().synchronize(stream);
  });
  const auto captured = run_once(
      [&](const auto& t, const auto& o) { run_captured(stream, 3, [&] { matmul(gpu().runtime, t, o, stream); }); });
  EXPECT_TRUE(captured == expected);
}

/// A call's copies may be made before the call ahead of it has ended, of what that one writes, in the same workspace.
TEST(CopiedOperands, are_of_what_the_call_before_wrote) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  std::vector<std::byte> results[2];
  for (const bool waits : {true, false}) {
    results[waits] = run_once([&](MatmulTensors t, const MatmulOptions& o) {
      for (int i = 0; i < 20; ++i) {
        matmul(gpu().runtime, t, o);
        if (waits) gpu().synchronize();
        std::swap(t.a.data, t.d.data);
      }
    });
  }
  EXPECT_TRUE(results[0] == results[1]);
}

TEST(CopiedOperands, lie_beside_the_sums_of_shared_tiles) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  MatmulData data(exact_product({DType::kBF16}, 64 * (gpu().info().num_sms + 1) - 25, 127, 4871));
  const ExpectedMatmul expected = expect(data, 64);
  data.options.kernel = "matmul_sm90";
  data.options.tile = {.block_m = 64, .block_n = 128, .block_k = 64};
  data.options.tile.cluster_m = data.options.tile.cluster_n = data.options.tile.num_splits = 1;
  data.options.tile.persistent = true;
  for (int i = 0; i < 2; ++i) {
    data.reset();
    DeviceMatmul on_gpu(data);
    const std::string plan = matmul_explain(gpu().runtime, on_gpu.tensors(), data.options);
    EXPECT_NE(plan.find("last tiles shared, a and b copied to aligned rows first"), std::string::npos) << plan;
    matmul(gpu().runtime, on_gpu.tensors(), data.options);
    on_gpu.fetch();
    EXPECT_EQ(judge(data, expected), "") << "run " << i;
  }
}

}  // namespace
}  // namespace fovea::testing
