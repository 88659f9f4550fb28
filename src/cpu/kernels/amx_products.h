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

#include "cpu/kernels/amx_multiply.inc"

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
  start_2x2<adds>(c, stride_bytes);
  multiply<pairs>(x);
  store_2x2(c, stride_bytes);
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
