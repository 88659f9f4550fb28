// SPDX-License-Identifier: Apache-2.0
// Peaks of AVX512-BF16: the dot product of bf16 pairs beside the fp32 loops of AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#include "cpu/kernels/peaks.h"
#include "cpu/simd/isa.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::avx512bf16 {
namespace {

constexpr int kVectorBytes = 64, kChains = 24;  // vdpbf16ps has 6 cycles of latency

#include "cpu/kernels/peak_loops.inc"

/// Sums grow by about 0.03 a round: far from infinity in any number of rounds that somebody waits for.
float dot_loop(Int64 rounds) {
  Floats x[kChains];
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f8d3f7b);  // 1.1016, 0.9805
  __m512bh b = (__m512bh)_mm512_set1_epi32(0x3c833c79);  // 0.0160, 0.0152
  asm volatile("" : "+x"(a), "+x"(b));
  FOVEA_UNROLL
  for (int i = 0; i < kChains; ++i) x[i] = Floats{} + 0.1f * static_cast<float>(i);
  for (Int64 round = 0; round < rounds; ++round) {
    FOVEA_UNROLL
    for (int i = 0; i < kChains; ++i) x[i] = (Floats)_mm512_dpbf16_ps((__m512)x[i], a, b);
  }
  Floats sum = {};
  FOVEA_UNROLL
  for (int i = 0; i < kChains; ++i) sum += x[i];
  return sum[0] + sum[1];
}

constexpr Peaks kPeaks = {"avx512bf16",
                          {"vfmadd, 512 bits", kFlopsPerRound, multiply_add_loop},
                          {"vdpbf16ps, 512 bits", 2 * kFlopsPerRound, dot_loop},
                          read_loop};

}  // namespace

const Peaks& peaks() { return kPeaks; }

}  // namespace fovea::cpu::avx512bf16
FOVEA_ISA_END
#endif  // __x86_64__
