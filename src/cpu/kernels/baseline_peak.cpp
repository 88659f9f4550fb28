// SPDX-License-Identifier: Apache-2.0
// Peaks of what any processor of the architecture runs: 128-bit vectors.
#include "cpu/kernels/peaks.h"
#include "cpu/simd/isa.h"

namespace fovea::cpu::baseline {
namespace {

constexpr int kVectorBytes = 16, kChains = 12;
#if defined(__x86_64__)
constexpr const char* kInstruction = "mulps + addps, 128 bits";
#else
constexpr const char* kInstruction = "multiply-add, 128 bits";
#endif

#include "cpu/kernels/peak_loops.inc"

constexpr Peaks kPeaks = {"baseline", {kInstruction, kFlopsPerRound, multiply_add_loop}, {}, read_loop};

}  // namespace

const Peaks& peaks() { return kPeaks; }

}  // namespace fovea::cpu::baseline
