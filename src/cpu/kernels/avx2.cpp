// SPDX-License-Identifier: Apache-2.0
// The unit of AVX2 + FMA + F16C.
#if defined(__x86_64__)
#include "cpu/simd/avx2.h"

#include "cpu/kernels/kernels.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX2)
namespace fovea::cpu::avx2 {
namespace {

// 12 accumulators, 3 vectors of rows, 1 broadcast: all 16 registers. Unrolled by 4 g++ mixes the steps and loads the
// rows anew in each instruction (the product with values 90 instead of 97 % of peak).
constexpr int kVectors = 3, kWidth = 4, kUnroll = 1;
constexpr int kBlockKeys = 96, kMaxTiles = 16;  // 128 at d = 128 push q out of 32 KB of L1 (- 2 %)
constexpr int kDecodeRows = 8, kDecodeVectors = 8;

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

constexpr Kernels kTable = {"avx2",   attention_tile, attention_scratch_bytes, attention_forward, attention_decode_rows,
                            kTileRows};

}  // namespace
}  // namespace fovea::cpu::avx2
FOVEA_ISA_END

namespace fovea::cpu {
const Kernels& avx2_kernels() { return avx2::kTable; }
}  // namespace fovea::cpu
#endif  // __x86_64__
