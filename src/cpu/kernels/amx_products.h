// SPDX-License-Identifier: Apache-2.0
// The two products of attention as AMX tiles: scores = q k^T and o += p v, for a block of 32 rows and one step of keys.
// A product takes 16 cycles, a load 8 and a store 16, which overlap if they are mixed evenly: so where the first
// operand of a sum fits into tiles, it stays there and every few products end in one store; else four sums share four
// loads.
#pragma once

#include "cpu/kernels/amx_pack.h"
#include "cpu/kernels/amx_softmax.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {

/// Products (i, j) of part i of the first operand and part j of the second, in the order in which they matter.
struct PartPair {
  signed char i, j;
};
inline constexpr PartPair kPartPairs[] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 2}, {2, 0}};

/// Scores of fp16 need all four, to be as exact as fp32 sums of exact products; its p are rounded anyway. What fp32
/// leaves out is below 2^-24 of the whole.
constexpr int score_pairs(int parts) { return parts == 1 ? 1 : parts == 2 ? 4 : 6; }
constexpr int value_pairs(int parts) { return parts == 1 ? 1 : parts == 2 ? 3 : 6; }

/// Operands of sums over parts and steps of 32 elements. The second row tile of a lies kTileBytes behind the first.
struct Operands {
  const char* a;
  const char* b;
  Int64 a_step, b_step;  // bytes to the next 32 elements
  Int64 b_second;        // to the second column tile
  Int64 a_part, b_part;
  int steps;
};

/// Tiles 0-3 += row tiles (4, 5) x column tiles (6, 7).
FOVEA_WORD void multiply_2x2(const char* a0, const char* a1, const char* b0, const char* b1) {
  tile_load<4>(a0);
  tile_load<6>(b0);
  tile_dot_bf16<0, 4, 6>();
  tile_load<7>(b1);
  tile_dot_bf16<1, 4, 7>();
  tile_load<5>(a1);
  tile_dot_bf16<2, 5, 6>();
  tile_dot_bf16<3, 5, 7>();
}

template <int pairs>
FOVEA_WORD void multiply(const Operands& x) {
  FOVEA_UNROLL
  for (int i = 0; i < pairs; ++i) {
    const char* a = x.a + kPartPairs[i].i * x.a_part;
    const char* b = x.b + kPartPairs[i].j * x.b_part;
    for (int s = 0; s < x.steps; ++s, a += x.a_step, b += x.b_step) {
      multiply_2x2(a, a + kTileBytes, b, b + x.b_second);
    }
  }
}

/// c (32 x 32) = or += the sums.
template <int pairs, bool adds>
FOVEA_WORD void multiply_block(const Operands& x, float* c, Int64 stride_bytes) {
  char* const c0 = reinterpret_cast<char*>(c);
  char* const c2 = c0 + kTileRows * stride_bytes;
  if constexpr (adds) {
    tile_load<0>(c0, stride_bytes);
    tile_load<1>(c0 + kTileRowBytes, stride_bytes);
    tile_load<2>(c2, stride_bytes);
    tile_load<3>(c2 + kTileRowBytes, stride_bytes);
  } else {
    tile_zero<0>();
    tile_zero<1>();
    tile_zero<2>();
    tile_zero<3>();
  }
  multiply<pairs>(x);
  tile_store<0>(c0, stride_bytes);
  tile_store<1>(c0 + kTileRowBytes, stride_bytes);
  tile_store<2>(c2, stride_bytes);
  tile_store<3>(c2 + kTileRowBytes, stride_bytes);
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
