// SPDX-License-Identifier: Apache-2.0
// The AMX kernel of the matrix product with its tile instructions replaced by plain loops that do what Intel's manual
// says, so that packing, addressing and edges are tested where there are no tiles. Needs AVX-512, which packs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <tuple>
#include <vector>

#include "base/math.h"
#include "cpu/processor.h"

#if defined(__x86_64__)
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/avx512.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::emulated_amx {
namespace {

using namespace avx512;

constexpr int kTileRows = 16, kTileRowBytes = 64, kTileBytes = kTileRows * kTileRowBytes, kTileDepth = 32;
alignas(64) char tile_registers[8][kTileBytes];
bool is_configured = false;

void tile_configure() { is_configured = true; }
void tile_release() { is_configured = false; }
template <int tile>
void tile_zero() {
  std::memset(tile_registers[tile], 0, kTileBytes);
}
template <int tile>
void tile_load(const void* from, Int64 stride_bytes = kTileRowBytes) {
  for (int r = 0; r < kTileRows; ++r) {
    std::memcpy(tile_registers[tile] + r * kTileRowBytes, static_cast<const char*>(from) + r * stride_bytes,
                kTileRowBytes);
  }
}
template <int tile>
void tile_store(void* to, Int64 stride_bytes) {
  for (int r = 0; r < kTileRows; ++r) {
    std::memcpy(static_cast<char*>(to) + r * stride_bytes, tile_registers[tile] + r * kTileRowBytes, kTileRowBytes);
  }
}
float bf16_at(const char* tile, int row, int element) {
  std::uint16_t bits;
  std::memcpy(&bits, tile + row * kTileRowBytes + 2 * element, 2);
  return bf16_to_float(bits);
}
template <int c, int a, int b>
void tile_dot_bf16() {
  ASSERT_TRUE(is_configured);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      float sum;
      std::memcpy(&sum, tile_registers[c] + m * kTileRowBytes + 4 * n, 4);
      for (int k = 0; k < 16; ++k) {
        sum += bf16_at(tile_registers[a], m, 2 * k) * bf16_at(tile_registers[b], k, 2 * n);
        sum += bf16_at(tile_registers[a], m, 2 * k + 1) * bf16_at(tile_registers[b], k, 2 * n + 1);
      }
      std::memcpy(tile_registers[c] + m * kTileRowBytes + 4 * n, &sum, 4);
    }
  }
}

template <typename T>
FOVEA_WORD void store_result(T* p, Vec x) {
  store_row(p, x);
}

#include "cpu/kernels/matmul_ahead.inc"
#include "cpu/kernels/matmul_finish.inc"
//
#include "cpu/kernels/matmul_dot_bf16.inc"
//
#include "cpu/kernels/matmul_dot.inc"
//
#include "cpu/kernels/amx_multiply.inc"
//
#include "cpu/kernels/amx_matmul.inc"

}  // namespace

const MatmulKernels& kernels() { return kTiles; }

}  // namespace fovea::cpu::emulated_amx
FOVEA_ISA_END

#include "cpu/thread_pool.h"
#include "matmul/cpu_schedule.h"

namespace fovea {
namespace {

/// Small integers: every sum is exact, whatever its order.
std::vector<std::uint16_t> integers(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::uint16_t> numbers(count);
  for (auto& x : numbers) x = float_to_bf16(static_cast<float>(generator() % 7) - 3.0f);
  return numbers;
}

void expect_product(int m, int n, int k, bool transposes_a, bool transposes_b, DType d_dtype, int block_k) {
  const auto a = integers(static_cast<std::size_t>(m) * k, 1), b = integers(static_cast<std::size_t>(k) * n, 2);
  std::vector<float> d(static_cast<std::size_t>(m) * n, NAN);
  MatmulArgs args;
  args.m = m, args.n = n, args.k = k;
  args.a = {a.data(), transposes_a ? 1 : k, transposes_a ? m : 1, {}};
  args.b = {b.data(), transposes_b ? 1 : n, transposes_b ? k : 1, {}};
  args.d = d.data();
  args.d_stride_row = n, args.d_stride_col = 1;
  MatmulConfig config;
  config.dtype = DType::kBF16;
  config.d_dtype = d_dtype;
  config.packs_a = config.packs_b = true;
  config.block_m = 64, config.block_n = 64, config.block_k = block_k;
  cpu::ThreadPool pool(1);
  run_cpu_matmul(pool, cpu::emulated_amx::kernels(), args, config);
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int l = 0; l < k; ++l) {
        sum += bf16_to_float(a[static_cast<std::size_t>(transposes_a ? l * m + i : i * k + l)]) *
               bf16_to_float(b[static_cast<std::size_t>(transposes_b ? j * k + l : l * n + j)]);
      }
      const auto at = static_cast<std::size_t>(i * n + j);
      const float got = d_dtype == DType::kF32 ? d[at] : bf16_to_float(reinterpret_cast<std::uint16_t*>(d.data())[at]);
      const float want = d_dtype == DType::kF32 ? sum : bf16_to_float(float_to_bf16(sum));
      ASSERT_EQ(got, want) << m << " x " << n << " x " << k << (transposes_a ? " ta" : "")
                           << (transposes_b ? " tb" : "") << " at " << i << ", " << j;
    }
  }
}

TEST(AmxMatmul, packing_and_tiles_are_right_for_every_order_and_edge) {
  if (!cpu::detect_processor().has.avx512_bf16) GTEST_SKIP() << "needs AVX512-BF16";
  for (const auto& [m, n, k] :
       {std::tuple{32, 32, 32}, {1, 1, 1}, {64, 96, 128}, {33, 31, 65}, {100, 70, 3}, {17, 129, 77}}) {
    for (const bool transposes_a : {false, true}) {
      for (const bool transposes_b : {false, true}) {
        expect_product(m, n, k, transposes_a, transposes_b, DType::kF32, 1024);
        expect_product(m, n, k, transposes_a, transposes_b, DType::kF32, 32);
        expect_product(m, n, k, transposes_a, transposes_b, DType::kBF16, 64);
      }
    }
  }
}

}  // namespace
}  // namespace fovea
#endif  // __x86_64__
