// SPDX-License-Identifier: Apache-2.0
// The unit of AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#include "cpu/simd/avx512.h"

#include "cpu/kernels/kernels.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512)
namespace fovea::cpu::avx512 {
namespace {

// 16 accumulators, 2 vectors of rows, 1 broadcast. 64 x 6 and 48 x 8 tiles load less and run slower on Sapphire Rapids.
constexpr int kVectors = 2, kWidth = 8, kUnroll = 4;
constexpr int kBlockKeys = 128, kMaxTiles = 16;
constexpr int kDecodeRows = 16, kDecodeVectors = 16;

#include "cpu/kernels/attention_work.inc"
//
#include "cpu/kernels/attention_scores.inc"
//
#include "cpu/kernels/attention_products.inc"
#include "cpu/kernels/attention_softmax.inc"
//
#include "cpu/kernels/attention_decode_state.inc"
//
#include "cpu/kernels/attention_decode_products.inc"
//
#include "cpu/kernels/attention_decode.inc"
//
#include "cpu/kernels/attention_forward.inc"
//
#include "cpu/kernels/attention_entry.inc"

constexpr Kernels kTable = {"avx512",          attention_tile,        attention_scratch_bytes,
                            attention_forward, attention_decode_rows, kTileRows};

}  // namespace
}  // namespace fovea::cpu::avx512
FOVEA_ISA_END

namespace fovea::cpu {
const Kernels& avx512_kernels() { return avx512::kTable; }
}  // namespace fovea::cpu
#endif  // __x86_64__
