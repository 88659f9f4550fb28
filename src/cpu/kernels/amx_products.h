// SPDX-License-Identifier: Apache-2.0
// The two products of attention as AMX tiles: scores = q k^T and o += p v, for a block of 32 rows and one step of keys.
// Both keep four sums in tiles 0-3 (2 x 2) and load four operands for four products: a load takes 8 cycles, a product
// 16, so that products never wait for the L1 cache.
#pragma once

#include "cpu/kernels/amx_pack.h"
#include "cpu/kernels/amx_softmax.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {

/// Tiles 0-3 += rows tiles (4, 5) x column tiles (6, 7).
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

/// Products of parts i and j that count, by i + j: with two parts all (fp16's scores are then as exact as products of
/// fp16 in fp32), with three those above 2^-26 of the whole.
template <int parts>
inline constexpr int kScoreOrder = parts == 2 ? 2 : parts - 1;

/// Scores of 32 rows and 32 keys. queries: tiles (part, depth step, half); keys: tiles (16 keys, depth step) of these
/// keys' first part, parts part_bytes apart. Of the products of parts those below the accuracy of the last are left
/// out.
template <int parts>
FOVEA_WORD void multiply_queries_keys(const char* queries, const char* keys, Int64 part_bytes, int depth_steps,
                                      float* scores) {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
  FOVEA_UNROLL
  for (int i = 0; i < parts; ++i) {
    FOVEA_UNROLL
    for (int j = 0; j < parts; ++j) {
      if (i + j > kScoreOrder<parts>) continue;
      const char* a = queries + i * depth_steps * 2 * kTileBytes;
      const char* b = keys + j * part_bytes;
      for (int s = 0; s < depth_steps; ++s, a += 2 * kTileBytes, b += kTileBytes) {
        multiply_2x2(a, a + kTileBytes, b, b + depth_steps * kTileBytes);
      }
    }
  }
  constexpr Int64 kStride = kStepKeys * sizeof(float);
  tile_store<0>(scores, kStride);
  tile_store<1>(scores + 16, kStride);
  tile_store<2>(scores + kTileRows * kStepKeys, kStride);
  tile_store<3>(scores + kTileRows * kStepKeys + 16, kStride);
}

/// o (32 rows, 32 of its columns, row stride in elements) += p v over the 32-key groups [begin, end) of the step.
/// values: the tile of the step's first group and these columns; groups are group_bytes apart, parts part_bytes.
template <int parts>
FOVEA_WORD void multiply_probabilities_values(const char* p, const char* values, Int64 part_bytes, Int64 group_bytes,
                                              int begin, int end, float* o, Int64 stride) {
  const Int64 stride_bytes = stride * static_cast<Int64>(sizeof(float));
  tile_load<0>(o, stride_bytes);
  tile_load<1>(o + 16, stride_bytes);
  tile_load<2>(o + kTileRows * stride, stride_bytes);
  tile_load<3>(o + kTileRows * stride + 16, stride_bytes);
  FOVEA_UNROLL
  for (int i = 0; i < parts; ++i) {
    FOVEA_UNROLL
    for (int j = 0; i + j < parts; ++j) {
      for (int g = begin; g < end; ++g) {
        const char* a = p + i * kProbabilityPartBytes + g * 2 * kTileBytes;
        const char* b = values + j * part_bytes + g * group_bytes;
        multiply_2x2(a, a + kTileBytes, b, b + kTileBytes);
      }
    }
  }
  tile_store<0>(o, stride_bytes);
  tile_store<1>(o + 16, stride_bytes);
  tile_store<2>(o + kTileRows * stride, stride_bytes);
  tile_store<3>(o + kTileRows * stride + 16, stride_bytes);
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
