// SPDX-License-Identifier: Apache-2.0
// Matrix products with the baseline: any processor that GCC or clang has vectors for.
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/portable.h"

namespace fovea::cpu::baseline {
namespace {

constexpr int kRows = 4, kVectors = 2, kTail = 0, kUnroll = 1, kBlockK = 512;
constexpr int kDotSums = 8;
constexpr const char* kIsa = "baseline";

#include "cpu/kernels/matmul_fp32.inc"

}  // namespace

const MatmulKernels& matmul_kernels(DType dtype) { return fp32_kernels(dtype); }

}  // namespace fovea::cpu::baseline
