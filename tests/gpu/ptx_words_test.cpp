// SPDX-License-Identifier: Apache-2.0
// Each PTX word of kernels/ptx in a kernel of five lines, against what the manual says it does.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/math.h"
#include "tests/gpu/gpu.h"

namespace fovea::testing {
namespace {

constexpr int kWarp = 32;

/// Runs one warp of `body` over in and out; header is the word's file.
template <typename In, typename Out>
std::vector<Out> run_warp(const char* header, const char* entry, const char* body, const std::vector<In>& in,
                          std::size_t out_size) {
  const auto kernel = gpu().kernel(header, entry, "const void* in, void* out", body, kWarp);
  const DeviceCopy input(in);
  const std::vector<Out> zeros(out_size);
  const DeviceCopy output(zeros);
  const void* from = input.data();
  void* to = output.data();
  cuda::launch(*kernel, {.blocks = 1, .threads = kWarp}, Stream{}, from, to);
  gpu().synchronize();
  return output.template values<Out>();
}

/// Element (row, column) of a 16 x 16 matrix of small numbers that fp16 and bf16 hold exactly.
float element(int row, int column) { return static_cast<float>((row * 5 + column * 3) % 17 - 8); }

TEST(PtxWords, ex2_and_rcp) {
  std::vector<float> in;
  for (int i = 0; i < kWarp; ++i) in.push_back(static_cast<float>(i) * 0.77f - 20.0f);
  in[0] = -INFINITY;
  const auto powers = run_warp<float, float>(
      "kernels/ptx/math.cuh", "test_ex2",
      "static_cast<float*>(out)[threadIdx.x] = ex2_approx(static_cast<const float*>(in)[threadIdx.x]);", in, kWarp);
  const auto reciprocals = run_warp<float, float>(
      "kernels/ptx/math.cuh", "test_rcp",
      "static_cast<float*>(out)[threadIdx.x] = rcp_approx(static_cast<const float*>(in)[threadIdx.x]);", in, kWarp);
  EXPECT_EQ(powers[0], 0.0f);
  for (std::size_t i = 1; i < kWarp; ++i) {
    EXPECT_NEAR(powers[i] / std::exp2(in[i]), 1.0, 4e-7) << in[i];
    EXPECT_NEAR(reciprocals[i] * in[i], 1.0, 4e-7) << in[i];
  }
}

TEST(PtxWords, lg2) {
  std::vector<float> in(kWarp, 0.0f);
  for (int i = 1; i < kWarp; ++i) in[i] = std::exp2(static_cast<float>(i) * 0.77f - 12.0f);
  const auto logs = run_warp<float, float>(
      "kernels/ptx/math.cuh", "test_lg2",
      "static_cast<float*>(out)[threadIdx.x] = lg2_approx(static_cast<const float*>(in)[threadIdx.x]);", in, kWarp);
  EXPECT_EQ(logs[0], -INFINITY);
  for (std::size_t i = 1; i < kWarp; ++i)
    EXPECT_NEAR(logs[i], std::log2(in[i]), 0x1p-22 * std::max(1.0f, std::abs(logs[i]))) << in[i];
}

TEST(PtxWords, conversions_put_low_in_the_low_half) {
  if (!gpu().info().has_bf16_mma) GTEST_SKIP() << "needs sm_80";
  const std::vector<float> in = {1.5f, -2.25f};
  const auto out = run_warp<float, std::uint16_t>(
      "kernels/ptx/math.cuh", "test_cvt",
      "const float* x = static_cast<const float*>(in); unsigned* y = static_cast<unsigned*>(out); "
      "if (threadIdx.x == 0) { y[0] = cvt_rn_bf16x2(x[1], x[0]); y[1] = cvt_rn_f16x2(x[1], x[0]); }",
      in, 4);
  EXPECT_EQ(out, (std::vector<std::uint16_t>{float_to_bf16(1.5f), float_to_bf16(-2.25f), float_to_fp16(1.5f),
                                             float_to_fp16(-2.25f)}));
}

/// Lane l receives elements (l / 4, 2 * (l % 4)) and its right neighbour of each of the four 8 x 8 matrices.
void expect_ldmatrix(bool transposed) {
  std::vector<std::uint16_t> in(256);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint16_t>(i);
  const std::string body = std::string("__shared__ __align__(16) unsigned short tile[256]; ") +
                           "for (int i = threadIdx.x; i < 256; i += 32) tile[i] = static_cast<const unsigned "
                           "short*>(in)[i]; __syncwarp(); " +
                           "unsigned d[4]; ldmatrix_x4" + (transposed ? "_trans" : "") +
                           "(d, static_cast<unsigned>(__cvta_generic_to_shared(tile + threadIdx.x * 8))); " +
                           "for (int i = 0; i < 4; ++i) static_cast<unsigned*>(out)[threadIdx.x * 4 + i] = d[i];";
  const auto out = run_warp<std::uint16_t, std::uint16_t>(
      "kernels/ptx/ldmatrix.cuh", transposed ? "test_ldmatrix_trans" : "test_ldmatrix", body.c_str(), in, 256);
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int side = 0; side < 2; ++side) {
        const int row = lane / 4, column = 2 * (lane % 4) + side;
        const int expected = matrix * 64 + (transposed ? column * 8 + row : row * 8 + column);
        EXPECT_EQ(out[static_cast<std::size_t>(lane * 8 + matrix * 2 + side)], expected)
            << "lane " << lane << " matrix " << matrix;
      }
    }
  }
}

TEST(PtxWords, ldmatrix) { expect_ldmatrix(false); }
TEST(PtxWords, ldmatrix_trans) { expect_ldmatrix(true); }

/// The accumulators of a warp, four per lane, as a matrix of 16 x 8.
std::vector<float> by_rows(const std::vector<float>& out) {
  std::vector<float> c(128);
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < 4; ++i) {
      c[static_cast<std::size_t>((lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2)] =
          out[static_cast<std::size_t>(lane * 4 + i)];
    }
  }
  return c;
}

/// a (16 x k), b (k x 8) as the manual spreads them over a warp; returns c (16 x 8).
std::vector<float> run_mma(const char* entry, const char* call, int k, std::uint16_t (*convert)(float)) {
  std::vector<std::uint16_t> in;
  const int halves = k / 8;
  for (int lane = 0; lane < kWarp; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int part = 0; part < 2 * halves; ++part) {  // a: rows g, g + 8; columns 2t, 2t + 8
      for (int side = 0; side < 2; ++side)
        in.push_back(convert(element(g + 8 * (part % 2), 2 * t + 8 * (part / 2) + side)));
    }
    for (int part = 0; part < halves; ++part) {  // b: rows 2t, 2t + 8; column g
      for (int side = 0; side < 2; ++side) in.push_back(convert(element(2 * t + 8 * part + side, g + 3)));
    }
  }
  const std::string words = std::to_string(3 * halves);
  const std::string body = "const unsigned* x = static_cast<const unsigned*>(in) + threadIdx.x * " + words +
                           "; float c[4] = {1, 1, 1, 1}; unsigned a[4] = {x[0], x[1], x[2], x[3]}; (void)a; " + call +
                           " for (int i = 0; i < 4; ++i) static_cast<float*>(out)[threadIdx.x * 4 + i] = c[i];";
  in.push_back(0), in.push_back(0);  // the k8 form reads one word past its last lane
  return by_rows(run_warp<std::uint16_t, float>("kernels/ptx/mma.cuh", entry, body.c_str(), in, 128));
}

void expect_product(const std::vector<float>& c, int k) {
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float expected = 1.0f;
      for (int i = 0; i < k; ++i) expected += element(row, i) * element(i, column + 3);
      EXPECT_EQ(c[static_cast<std::size_t>(row * 8 + column)], expected) << row << ", " << column;
    }
  }
}

TEST(PtxWords, mma_m16n8k16) {
  if (!gpu().info().has_bf16_mma) GTEST_SKIP() << "needs sm_80";
  expect_product(run_mma("test_mma_bf16", "mma_m16n8k16_bf16(c, a, x[4], x[5]);", 16, float_to_bf16), 16);
  expect_product(run_mma("test_mma_f16", "mma_m16n8k16_f16(c, a, x[4], x[5]);", 16, float_to_fp16), 16);
}

TEST(PtxWords, mma_m16n8k8) {
  expect_product(run_mma("test_mma_k8", "mma_m16n8k8_f16(c, x[0], x[1], x[2]);", 8, float_to_fp16), 8);
}

TEST(PtxWords, mma_m16n8k8_tf32) {
  if (!gpu().info().has_bf16_mma) GTEST_SKIP() << "needs sm_80";
  std::vector<float> in;
  for (int lane = 0; lane < kWarp; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int part = 0; part < 4; ++part) in.push_back(element(g + 8 * (part % 2), t + 4 * (part / 2)));
    for (int part = 0; part < 2; ++part) in.push_back(element(t + 4 * part, g + 3));
  }
  const auto out = run_warp<float, float>(
      "kernels/ptx/mma.cuh", "test_mma_tf32",
      "const unsigned* x = static_cast<const unsigned*>(in) + threadIdx.x * 6; float c[4] = {1, 1, 1, 1}; "
      "unsigned a[4] = {x[0], x[1], x[2], x[3]}; mma_m16n8k8_tf32(c, a, x[4], x[5]); "
      "for (int i = 0; i < 4; ++i) static_cast<float*>(out)[threadIdx.x * 4 + i] = c[i];",
      in, 128);
  expect_product(by_rows(out), 8);
}

TEST(PtxWords, mma_m16n8k32_e4m3) {
  if (!gpu().info().has_fp8_mma) GTEST_SKIP() << "needs sm_89";
  std::vector<std::uint8_t> in;
  for (int lane = 0; lane < kWarp; ++lane) {
    const int g = lane / 4, t = 4 * (lane % 4);
    for (int part = 0; part < 4; ++part) {
      for (int e = 0; e < 4; ++e) in.push_back(float_to_e4m3(element(g + 8 * (part % 2), t + 16 * (part / 2) + e)));
    }
    for (int part = 0; part < 2; ++part) {
      for (int e = 0; e < 4; ++e) in.push_back(float_to_e4m3(element(t + 16 * part + e, g + 3)));
    }
  }
  const auto out = run_warp<std::uint8_t, float>(
      "kernels/ptx/mma.cuh", "test_mma_e4m3",
      "const unsigned* x = static_cast<const unsigned*>(in) + threadIdx.x * 6; float c[4] = {1, 1, 1, 1}; "
      "unsigned a[4] = {x[0], x[1], x[2], x[3]}; mma_m16n8k32_e4m3(c, a, x[4], x[5]); "
      "for (int i = 0; i < 4; ++i) static_cast<float*>(out)[threadIdx.x * 4 + i] = c[i];",
      in, 128);
  expect_product(by_rows(out), 32);
}

TEST(PtxWords, cvt_rna_tf32_rounds_ties_away_from_zero) {
  if (!gpu().info().has_bf16_mma) GTEST_SKIP() << "needs sm_80";
  std::vector<float> in = {1.0f,     1.0f + 0x1p-11f, -1.0f - 0x1p-11f, 1.0f + 0x1p-12f, 1.0f + 0x3p-12f,
                           INFINITY, 0x1.8p-130f,     -0x1.fffffep127f};
  for (int i = 8; i < kWarp; ++i) in.push_back(std::ldexp(1.0f + 0.0371f * static_cast<float>(i), 3 * i - 60));
  const auto out = run_warp<float, std::uint32_t>(
      "kernels/ptx/math.cuh", "test_cvt_tf32",
      "static_cast<unsigned*>(out)[threadIdx.x] = cvt_rna_tf32(static_cast<const float*>(in)[threadIdx.x]);", in,
      kWarp);
  for (std::size_t i = 0; i < kWarp; ++i) {
    EXPECT_EQ(out[i] & 0xffffe000u, std::bit_cast<std::uint32_t>(round_to_tf32(in[i]))) << in[i];
  }
}

TEST(PtxWords, st_global_v2_stores_eight_bytes) {
  const std::vector<std::uint32_t> in(kWarp, 7);
  const auto out = run_warp<std::uint32_t, std::uint32_t>(
      "kernels/ptx/global.cuh", "test_st_global_v2",
      "st_global_v2(static_cast<unsigned*>(out) + 2 * threadIdx.x, threadIdx.x, 100 + threadIdx.x);", in, 2 * kWarp);
  for (std::size_t i = 0; i < kWarp; ++i) {
    EXPECT_EQ(out[2 * i], i);
    EXPECT_EQ(out[2 * i + 1], 100 + i);
  }
}

TEST(PtxWords, cp_async_copies_and_fills_with_zeros) {
  if (!gpu().info().has_cp_async) GTEST_SKIP() << "needs sm_80";
  std::vector<std::uint32_t> in(128);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint32_t>(i + 1);
  // Lane l copies 16 bytes, of which only (l % 5) * 4 are read.
  const auto out = run_warp<std::uint32_t, std::uint32_t>(
      "kernels/ptx/cp_async.cuh", "test_cp_async",
      "__shared__ __align__(16) unsigned tile[128]; for (int i = 0; i < 4; ++i) tile[threadIdx.x * 4 + i] = 77; "
      "__syncwarp(); "
      "cp_async_cg_16(static_cast<unsigned>(__cvta_generic_to_shared(tile + threadIdx.x * 4)), "
      "static_cast<const unsigned*>(in) + threadIdx.x * 4, (threadIdx.x % 5) * 4); "
      "cp_async_commit_group(); cp_async_wait_group<0>(); __syncwarp(); "
      "for (int i = 0; i < 4; ++i) static_cast<unsigned*>(out)[threadIdx.x * 4 + i] = tile[threadIdx.x * 4 + i];",
      in, 128);
  for (std::size_t i = 0; i < 128; ++i) EXPECT_EQ(out[i], i % 4 < (i / 4) % 5 ? i + 1 : 0u) << i;
}

}  // namespace
}  // namespace fovea::testing
