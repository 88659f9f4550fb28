// SPDX-License-Identifier: Apache-2.0
// Peaks of AMX: products of bf16 tiles that stay in the tile registers, beside the fp32 loops of AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/kernels/peaks.h"
#include "cpu/simd/isa.h"

FOVEA_ISA_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,amx-tile,amx-bf16")
namespace fovea::cpu::amx {
namespace {

constexpr int kVectorBytes = 64, kChains = 24;

#include "cpu/kernels/peak_loops.inc"

/// Palette 1: eight tiles of 16 rows of 64 bytes. Intel SDM volume 1, section 18.
struct alignas(64) TileConfig {
  unsigned char palette = 1;
  unsigned char start_row = 0;
  unsigned char reserved[14] = {};
  unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// The 2 x 2 block of a matrix product: tiles 0-3 are sums, 4-5 one operand, 6-7 the other; twice a round.
float tile_loop(Int64 rounds) {
  const TileConfig config;
  alignas(64) unsigned short operand[512];
  for (int i = 0; i < 512; ++i) operand[i] = static_cast<unsigned short>(0x3c00 + (i * 37 & 0x7f));  // 0.008 to 0.016
  alignas(64) float sums[256];
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, operand, 64);
  _tile_loadd(5, operand, 64);
  _tile_loadd(6, operand, 64);
  _tile_loadd(7, operand, 64);
  for (Int64 round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  const float first = sums[0];
  _tile_stored(3, sums, 64);
  _tile_release();
  return first + sums[0];
}

constexpr double kFlopsPerTileProduct = 2.0 * 16 * 16 * 32;

constexpr Peaks kPeaks = {"amx",
                          {"vfmadd, 512 bits", kFlopsPerRound, multiply_add_loop},
                          {"tdpbf16ps, 16 x 16 x 32", 8 * kFlopsPerTileProduct, tile_loop},
                          read_loop};

}  // namespace

const Peaks& peaks() { return kPeaks; }

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
#endif  // __x86_64__
