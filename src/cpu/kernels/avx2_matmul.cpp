// SPDX-License-Identifier: Apache-2.0
// Matrix products with AVX2 and FMA.
#if defined(__x86_64__)
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/avx2.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX2)
namespace fovea::cpu::avx2 {
namespace {

// 12 accumulators, 2 vectors of b, 1 broadcast of the 16 registers.
constexpr int kRows = 6, kVectors = 2, kTail = 0, kUnroll = 4, kBlockK = 512;
constexpr int kDotSums = 8;
constexpr const char* kIsa = "avx2";

#include "cpu/kernels/matmul_fp32.inc"

}  // namespace

const MatmulKernels& matmul_kernels(DType dtype) { return fp32_kernels(dtype); }

}  // namespace fovea::cpu::avx2
FOVEA_ISA_END
#endif  // __x86_64__
