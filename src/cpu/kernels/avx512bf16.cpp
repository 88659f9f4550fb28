// SPDX-License-Identifier: Apache-2.0
// The unit of AVX-512 with BF16.
#if defined(__x86_64__)
#include "cpu/kernels/kernels.h"
#include "cpu/simd/avx512.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::avx512bf16 {
namespace {

using namespace avx512;

constexpr int kVectors = 2, kWidth = 8, kUnroll = 4;
constexpr int kBlockKeys = 128, kMaxTiles = 16;
constexpr int kDecodeRows = 16, kDecodeVectors = 16;

#include "cpu/kernels/attention_forward.inc"

constexpr Kernels kTable = {"avx512bf16", attention_tile, attention_scratch_bytes, attention_forward};

}  // namespace
}  // namespace fovea::cpu::avx512bf16
FOVEA_ISA_END

namespace fovea::cpu {
const Kernels& avx512bf16_kernels() { return avx512bf16::kTable; }
}  // namespace fovea::cpu
#endif  // __x86_64__
