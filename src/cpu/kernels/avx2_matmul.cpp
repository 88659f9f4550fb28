// SPDX-License-Identifier: Apache-2.0
// Matrix products with AVX2 and FMA.
#if defined(__x86_64__)
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/avx2.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX2)
namespace fovea::cpu::avx2 {
namespace {

// 12 accumulators, 2 vectors of b, 1 broadcast of the 16 registers.
constexpr int kRows = 6, kVectors = 2, kUnroll = 4, kBlockK = 512;
constexpr int kDotSums = 8;
constexpr int kStepBytes = 4, kElementBytes = 4;  // panels of fp32, whatever the elements are

template <typename T>
FOVEA_WORD void store_result(T* p, Vec x) {
  store_row(p, x);
}

FOVEA_WORD Vec multiply_add(Vec a, Vec b, Vec sum) { return fma(a, b, sum); }

#include "cpu/kernels/matmul_finish.inc"
#include "cpu/kernels/matmul_pack.inc"
//
#include "cpu/kernels/matmul_ahead.inc"
#include "cpu/kernels/matmul_tile.inc"
//
#include "cpu/kernels/matmul_dot_fp32.inc"
//
#include "cpu/kernels/matmul_dot.inc"

template <typename T>
constexpr MatmulKernels table(bool takes_rows) {
  return {"avx2",
          "fp32",
          kRows,
          kColumns,
          1,
          4,
          kBlockK,
          takes_rows,
          takes_rows,
          pack<T, kRows>,
          pack<T, kColumns>,
          multiply,
          multiply_lines<T>};
}
constexpr MatmulKernels kF32 = table<float>(true), kF16 = table<Half>(false), kBF16 = table<Bfloat16>(false),
                        kE4M3 = table<E4m3>(false);

}  // namespace

const MatmulKernels& matmul_kernels(DType dtype) {
  switch (dtype) {
    case DType::kF16: return kF16;
    case DType::kBF16: return kBF16;
    case DType::kE4M3: return kE4M3;
    default: return kF32;
  }
}

}  // namespace fovea::cpu::avx2
FOVEA_ISA_END
#endif  // __x86_64__
