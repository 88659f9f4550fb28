// SPDX-License-Identifier: Apache-2.0
// Peaks of AVX2 + FMA.
#if defined(__x86_64__)
#include "cpu/kernels/peaks.h"
#include "cpu/simd/isa.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX2)
namespace fovea::cpu::avx2 {
namespace {

constexpr int kVectorBytes = 32, kChains = 12;  // 4 to 5 cycles of latency, 2 per cycle

#include "cpu/kernels/peak_loops.inc"

constexpr Peaks kPeaks = {"avx2", {"vfmadd, 256 bits", kFlopsPerRound, multiply_add_loop}, {}, read_loop};

}  // namespace

const Peaks& peaks() { return kPeaks; }

}  // namespace fovea::cpu::avx2
FOVEA_ISA_END
#endif  // __x86_64__
