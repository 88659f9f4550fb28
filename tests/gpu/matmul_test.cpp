// SPDX-License-Identifier: Apache-2.0
// What the case table does not ask of matrix products on a GPU: every tile that a card offers, in every layout; tiles
// of the caller; the same bits on every run; graphs; results beyond 2^31 elements.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "cuda/architectures.h"
#include "fovea/error.h"
#include "matmul/kernels.h"
#include "problem/describe_matmul.h"
#include "tests/gpu/matmul_on_gpu.h"

namespace fovea::testing {
namespace {

MatmulCase product(const Kind& kind, int m, int n, int k) {
  MatmulCase c = exact_product(kind, m, n, k);
  if (kind.dtype == DType::kE4M3) c.b_order = Order::kColumns;  // as the matrix units take it
  return c;
}

std::string text_of(const MatmulTile& t) {
  return std::to_string(t.block_m) + "x" + std::to_string(t.block_n) + "x" + std::to_string(t.block_k) + " stages " +
         std::to_string(t.stages) + " warps " + std::to_string(t.warps) + " cluster " + std::to_string(t.cluster_m) +
         "x" + std::to_string(t.cluster_n) + " splits " + std::to_string(t.num_splits);
}

/// Runs every tile that the card offers for this call.
void run_all_tiles(const MatmulCase& c, const char* kernel) {
  MatmulData data(c);
  data.options.kernel = kernel;
  const ExpectedMatmul expected = expect(data);
  DeviceMatmul shape(data);
  const std::vector<MatmulTile> tiles = matmul_candidates(gpu().runtime, shape.tensors(), data.options);
  EXPECT_GE(tiles.size(), 2u);
  for (const MatmulTile& tile : tiles) {
    data.reset();
    DeviceMatmul on_gpu(data);
    data.options.tile = tile;
    matmul(gpu().runtime, on_gpu.tensors(), data.options);
    on_gpu.fetch();
    EXPECT_EQ(judge(data, expected), "") << kernel << " " << to_string(c) << " " << text_of(tile);
  }
}

class TileCases : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, TileCases,
                         ::testing::Values(Kind{DType::kF16}, Kind{DType::kBF16}, Kind{DType::kF32},
                                           Kind{DType::kF32, Math::kFast}, Kind{DType::kE4M3},
                                           Kind{DType::kE4M3, Math::kExact, ScaleKind::kPerTensor},
                                           Kind{DType::kE4M3, Math::kExact, ScaleKind::kPerBlock}),
                         [](const auto& p) { return name_of_kind(p.param); });

bool is_multiplied(const Kind& kind) { return kind.dtype != DType::kE4M3 || gpu().info().has_fp8_mma; }

/// Cards that take the case on this GPU.
std::vector<const MatmulKernel*> cards_for(const MatmulCase& c) {
  std::vector<const MatmulKernel*> cards;
  for (const MatmulKernel* card : matmul_kernels()) {
    if (takes(*card, c)) cards.push_back(card);
  }
  return cards;
}

TEST_P(TileCases, gives_the_right_product_in_every_layout) {
  const Kind kind = GetParam();
  if (!is_multiplied(kind)) GTEST_SKIP() << "needs sm_89";
  for (const Order a : {Order::kRows, Order::kColumns}) {
    for (const Order b : {Order::kRows, Order::kColumns}) {
      for (const Order d : {Order::kRows, Order::kColumns}) {
        // fp16 and bf16 share all but the product itself.
        const bool is_e4m3 = kind.dtype == DType::kE4M3;
        if (kind.dtype == DType::kF16 && (a != b || a != d)) continue;
        // One layout is multiplied as it lies, the others are read element by element: one of them, and both d.
        if (is_e4m3 && !(a == Order::kRows && b == Order::kColumns) && !(a != b && d == Order::kRows)) continue;
        MatmulCase c = product(kind, 328, 456, 264);
        c.a_order = a, c.b_order = b, c.d_order = d;
        c.has_bias = true;
        for (const MatmulKernel* card : cards_for(c)) run_all_tiles(c, card->name.data());
      }
    }
  }
}

TEST_P(TileCases, gives_the_right_product_for_few_rows_and_many_k) {
  if (!is_multiplied(GetParam())) GTEST_SKIP() << "needs sm_89";
  for (const int m : {1, 16, 61}) {
    const MatmulCase c = product(GetParam(), m, 520, 2056);
    for (const MatmulKernel* card : cards_for(c)) run_all_tiles(c, card->name.data());
  }
}

TEST_P(TileCases, gives_the_right_batch) {
  if (!is_multiplied(GetParam())) GTEST_SKIP() << "needs sm_89";
  MatmulCase c = product(GetParam(), 72, 136, 200);
  c.batch = {3, 2};
  c.differs = true;
  c.batch_a = {3, 1};
  c.batch_b = {2};
  for (const MatmulKernel* card : cards_for(c)) run_all_tiles(c, card->name.data());
}

TEST(MatmulOnGpu, many_tiles_per_block_take_turns) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  for (const bool persistent : {true, false}) {
    MatmulData data(product({DType::kBF16}, 1544, 1160, 72));
    const ExpectedMatmul expected = expect(data, 64);
    data.options.kernel = "matmul_sm90";
    data.options.tile.block_m = data.options.tile.block_n = data.options.tile.block_k = 64;
    data.options.tile.persistent = persistent;
    DeviceMatmul on_gpu(data);
    matmul(gpu().runtime, on_gpu.tensors(), data.options);
    on_gpu.fetch();
    EXPECT_EQ(judge(data, expected), "") << "persistent " << persistent;
  }
}

TEST(MatmulOnGpu, warpgroups_end_their_tiles_one_after_the_other) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  // Three tiles per block; fewer steps of k than stages, as many, and more.
  for (const auto& [k, cluster_n] : {std::pair{64, 1}, {136, 1}, {328, 1}, {264, 2}}) {
    MatmulData data(product({DType::kBF16}, 128 * 9 - 8, 64 * 48, k));
    const ExpectedMatmul expected = expect(data, 64);
    data.options.kernel = "matmul_sm90";
    data.options.tile = {.block_m = 128, .block_n = 64, .block_k = 64, .stages = 3, .warps = 8};
    data.options.tile.cluster_m = 1, data.options.tile.cluster_n = cluster_n, data.options.tile.num_splits = 1;
    data.options.tile.persistent = true;
    DeviceMatmul on_gpu(data);
    matmul(gpu().runtime, on_gpu.tensors(), data.options);
    on_gpu.fetch();
    EXPECT_EQ(judge(data, expected), "") << "k " << k << ", cluster_n " << cluster_n;
  }
}

/// A call may start before the one ahead of it in the stream has ended, and reads what that one writes.
TEST(MatmulOnGpu, calls_in_a_row_see_each_others_results) {
  MatmulCase c = product({DType::kBF16}, 256, 256, 256);
  c.fill = MatmulFill::kNormal;
  std::vector<std::byte> results[2];
  for (const bool waits : {true, false}) {
    MatmulData data(c);
    DeviceMatmul on_gpu(data);
    MatmulTensors t = on_gpu.tensors();
    for (int i = 0; i < 20; ++i) {
      matmul(gpu().runtime, t, data.options);
      if (waits) gpu().synchronize();
      std::swap(t.a.data, t.d.data);
    }
    on_gpu.fetch();
    results[waits] = data.d.bytes;
  }
  EXPECT_EQ(results[0], results[1]);
}

/// Runs twice: what the first call leaves in the workspace must not be taken for the second's.
void run_shared_tiles(const Kind& kind, int tiles, int k_bytes, int cluster_m) {
  MatmulData data(product(kind, 64 * tiles - 24, 128, k_bytes / size_bytes(kind.dtype)));
  const ExpectedMatmul expected = expect(data, 64);
  data.options.kernel = "matmul_sm90";
  MatmulTile& tile = data.options.tile;
  tile.block_m = 64, tile.block_n = 128, tile.block_k = 128 / size_bytes(kind.dtype);
  tile.cluster_m = cluster_m, tile.cluster_n = 1;
  tile.num_splits = 1;
  tile.persistent = true;
  for (int i = 0; i < 2; ++i) {
    data.reset();
    DeviceMatmul on_gpu(data);
    const std::string plan = matmul_explain(gpu().runtime, on_gpu.tensors(), data.options);
    EXPECT_NE(plan.find("last tiles shared"), std::string::npos) << plan;
    matmul(gpu().runtime, on_gpu.tensors(), data.options);
    on_gpu.fetch();
    EXPECT_EQ(judge(data, expected), "") << tiles << " tiles, cluster " << cluster_m << ", run " << i;
  }
}

TEST(MatmulOnGpu, blocks_share_the_tiles_of_the_last_wave) {
  if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs a GPU with wgmma";
  const int slots = gpu().info().num_sms;
  for (const Kind& kind : {Kind{DType::kBF16}, Kind{DType::kF32, Math::kFast}}) {  // e4m3 never shares
    run_shared_tiles(kind, slots + 1, 9744, 1);                                    // then almost two waves are shared
    run_shared_tiles(kind, slots + slots / 2, 19488, 1);
    run_shared_tiles(kind, slots + 2, 9744, 2);
  }
}

TEST(MatmulOnGpu, a_search_is_timed_by_the_clock_of_the_gpu) {
  MatmulData data(product({DType::kF16}, 256, 256, 256));
  data.options.kernel = "matmul_sm80";
  DeviceMatmul shape(data);
  std::vector<MatmulTile> tiles = matmul_candidates(gpu().runtime, shape.tensors(), data.options);
  tiles.resize(2);
  tiles[1].block_k = 1 << 20;
  const auto timings = matmul_time(gpu().runtime, shape.tensors(), data.options, tiles, 0.001);
  ASSERT_EQ(timings.size(), 2u);
  EXPECT_GT(timings[0].seconds, 0.0) << timings[0].failure;
  EXPECT_EQ(timings[1].seconds, 0.0);
  EXPECT_NE(timings[1].failure, "");
  // A call from the host takes longer than such a product on a GPU that has an H200's clock; emulated ones have none.
  if (gpu().info().has_wgmma && !gpu().is_emulated()) {
    EXPECT_LT(timings[0].seconds, 30e-6);
  }
}

/// Number i of a: ties, both neighbours of ties and what is exact, of both signs and several exponents.
float near_tf32(std::uint32_t i) {
  constexpr std::uint32_t kLast[] = {0x1000, 0x0fff, 0x1001, 0, 0x1fff};
  return std::bit_cast<float>(0x3f000000u + (i * 0x2000u & 0x00ffe000u) + kLast[i % 5]) * (i % 2 ? -1.0f : 1.0f);
}

/// a times the identity: d is a as it was multiplied.
void multiply_by_one(const MatmulKernel& card, const MatmulCase& c) {
  MatmulData data(c);
  const auto at = [](const HostTensor& t, int row, int column) {
    return row * t.view.strides[0] + column * t.view.strides[1];
  };
  const int size = c.m;
  for (int i = 0; i < size * size; ++i) {
    const int row = i / size, column = i % size;
    store(data.a, at(data.a, row, column), near_tf32(static_cast<std::uint32_t>(i)));
    store(data.b, at(data.b, row, column), row == column ? 1.0 : 0.0);
  }
  data.options.kernel = card.name;
  DeviceMatmul on_gpu(data);
  matmul(gpu().runtime, on_gpu.tensors(), data.options);
  on_gpu.fetch();
  const auto* d = static_cast<const float*>(data.d.view.data);
  for (int i = 0; i < size * size; ++i) {
    const std::uint32_t a = std::bit_cast<std::uint32_t>(near_tf32(static_cast<std::uint32_t>(i)));
    const std::uint32_t half = card.name == "matmul_sm90" ? 0xfffu + (a >> 13 & 1u) : 0x1000u;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(d[at(data.d, i / size, i % size)]), (a + half) & 0xffffe000u)
        << card.name << " " << to_string(c) << ", element " << i;
  }
}

TEST(MatmulOnGpu, fast_fp32_is_rounded_to_nearest_ties_to_even_by_the_copy_engine_and_else_away_from_zero) {
  if (!gpu().info().has_bf16_mma) GTEST_SKIP() << "needs sm_80";
  MatmulCase c = product({DType::kF32, Math::kFast}, 64, 64, 64);
  for (const auto& [a, b] : {std::pair{Order::kRows, Order::kColumns}, {Order::kColumns, Order::kColumns}}) {
    c.a_order = a, c.b_order = b;  // k contiguous in both; m contiguous in a, which wgmma takes from registers
    for (const MatmulKernel* card : cards_for(c)) {
      if (card->name != "matmul_fp32") multiply_by_one(*card, c);
    }
  }
}

TEST(MatmulOnGpu, an_illegal_tile_is_refused_with_its_limit) {
  MatmulData data(product({DType::kBF16}, 256, 256, 256));
  DeviceMatmul on_gpu(data);
  data.options.tile.block_m = 128, data.options.tile.block_n = 100, data.options.tile.block_k = 64;
  try {
    matmul(gpu().runtime, on_gpu.tensors(), data.options);
    FAIL() << "block_n = 100 was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("block_n is 100, must be"), std::string::npos) << error.what();
  }
}

TEST(MatmulOnGpu, gives_the_same_bits_on_every_run) {
  for (const DType dtype : {DType::kBF16, DType::kF32})
    for (const auto& [m, n, k] : {std::array{16, 4096, 4096}, {333, 517, 1032}, {1024, 1024, 1024}}) {
      MatmulCase c = product({dtype}, m, n, k);
      c.fill = MatmulFill::kNormal;
      MatmulData data(c);
      std::vector<std::byte> first;
      for (int i = 0; i < 4; ++i) {
        data.reset();
        DeviceMatmul on_gpu(data);
        matmul(gpu().runtime, on_gpu.tensors(), data.options);
        on_gpu.fetch();
        if (i == 0) first = data.d.bytes;
        EXPECT_EQ(std::memcmp(first.data(), data.d.bytes.data(), first.size()), 0) << m << " " << n << " " << k;
      }
    }
}

TEST(MatmulOnGpu, elements_beyond_two_to_the_31_are_written) {
  // d has 2^31 + 2^20 elements; its last rows are far beyond a 32-bit offset.
  constexpr std::int64_t kN = 1 << 16, kM = (std::int64_t{1} << 15) + 16, kK = 8;
  if (gpu().info().memory_bytes < 3 * kM * kN) GTEST_SKIP() << "needs 6 GB of GPU memory";
  const std::vector<std::uint16_t> ones(static_cast<std::size_t>(kM * kK), 0x3f80), twos(kN * kK, 0x4000);
  const DeviceCopy a(ones), b(twos);
  cuda::DeviceBuffer d(gpu().device(), static_cast<std::size_t>(kM * kN) * 2);
  MatmulTensors t;
  const Device device = {DeviceKind::kCUDA, 0};
  t.a = TensorView::contiguous(a.data(), DType::kBF16, {kM, kK}, device);
  t.b = TensorView::contiguous(b.data(), DType::kBF16, {kK, kN}, device);
  t.d = TensorView::contiguous(d.data(), DType::kBF16, {kM, kN}, device);
  for (const char* kernel : {"matmul_sm90", "matmul_sm80"}) {
    if (!gpu().info().has_wgmma && kernel == std::string("matmul_sm90")) continue;
    MatmulOptions options;
    options.kernel = kernel;
    matmul(gpu().runtime, t, options);
    std::vector<std::uint16_t> last(4096);
    const cuda::ScopedContext scope(gpu().device());
    gpu().check(gpu().api().cuMemcpyDtoHAsync(last.data(), d.address() + static_cast<std::size_t>(kM * kN - 4096) * 2,
                                              8192, nullptr),
                "cuMemcpyDtoHAsync");
    gpu().synchronize();
    for (const std::uint16_t x : last) ASSERT_EQ(x, 0x4180) << kernel;  // 16.0
  }
}

}  // namespace
}  // namespace fovea::testing
