// SPDX-License-Identifier: Apache-2.0
// One function = one AMX instruction, and the shapes of tiles. Written as assembly because the compilers' intrinsics
// name no memory: a vector store could move past the tile load that reads it.
// A tile is 16 rows of 64 bytes: 16 x 16 fp32, or 16 x 32 bf16. Source: Intel SDM volume 2, "TDPBF16PS".
#pragma once

#include <stdint.h>

#include "contract/host_device.h"
#include "cpu/simd/isa.h"

namespace fovea::cpu::amx {

inline constexpr int kTileRows = 16;
inline constexpr int kTileRowBytes = 64;
inline constexpr int kTileBytes = kTileRows * kTileRowBytes;
inline constexpr int kTileDepth = 32;  // bf16 elements of a row: the inner dimension of one product

struct alignas(64) TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

/// All eight tiles 16 rows x 64 bytes. The process must have been granted tile data (detect_processor asks for it).
FOVEA_WORD void tile_configure() {
  TileConfig config = {};
  config.palette = 1;
  for (int t = 0; t < 8; ++t) {
    config.row_bytes[t] = kTileRowBytes;
    config.rows[t] = kTileRows;
  }
  asm volatile("ldtilecfg %0" : : "m"(config));
}

/// Back to the initial state, so that a context switch need not save 8 KiB.
FOVEA_WORD void tile_release() { asm volatile("tilerelease"); }

template <int tile>
FOVEA_WORD void tile_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(tile));
}

template <int tile>
FOVEA_WORD void tile_load(const void* from, Int64 stride_bytes = kTileRowBytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride_bytes), "i"(tile) : "memory");
}

template <int tile>
FOVEA_WORD void tile_store(void* to, Int64 stride_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride_bytes), "i"(tile) : "memory");
}

/// c += a * b: a is 16 rows x 32 bf16; row r of b holds the pairs (2r, 2r + 1) of the inner dimension of 16 columns.
/// Denormal bf16 inputs and fp32 results count as zero; sums are rounded to nearest even.
template <int c, int a, int b>
FOVEA_WORD void tile_dot_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
}

}  // namespace fovea::cpu::amx
