// SPDX-License-Identifier: Apache-2.0
// Matrix products with AVX-512.
#if defined(__x86_64__)
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/avx512.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512)
namespace fovea::cpu::avx512 {
namespace {

// 24 accumulators, 4 vectors of b, 1 broadcast. kBlockK steps of b are 128 KiB: they stream from the L2 cache.
constexpr int kRows = 6, kVectors = 4, kTail = 8, kUnroll = 4, kBlockK = 512;
constexpr int kDotSums = 16;
constexpr const char* kIsa = "avx512";

#include "cpu/kernels/matmul_fp32.inc"

}  // namespace

const MatmulKernels& matmul_kernels(DType dtype) { return fp32_kernels(dtype); }

}  // namespace fovea::cpu::avx512
FOVEA_ISA_END
#endif  // __x86_64__
