// SPDX-License-Identifier: Apache-2.0
// Peaks of AVX-512.
#if defined(__x86_64__)
#include "cpu/kernels/peaks.h"
#include "cpu/simd/isa.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512)
namespace fovea::cpu::avx512 {
namespace {

constexpr int kVectorBytes = 64, kChains = 24;

#include "cpu/kernels/peak_loops.inc"

constexpr Peaks kPeaks = {"avx512", {"vfmadd, 512 bits", kFlopsPerRound, multiply_add_loop}, {}, read_loop};

}  // namespace

const Peaks& peaks() { return kPeaks; }

}  // namespace fovea::cpu::avx512
FOVEA_ISA_END
#endif  // __x86_64__
