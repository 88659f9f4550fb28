// SPDX-License-Identifier: Apache-2.0
// Matrix products of bf16 by AMX tiles: 32 x 32 sums in four tiles, operands packed into tiles. bf16 denormals count as
// zero there. Other types are the AVX-512 unit's.
#if defined(__x86_64__)
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/avx512.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {
namespace {

using namespace avx512;

template <typename T>
FOVEA_WORD void store_result(T* p, Vec x) {
  store_row(p, x);
}

#include "cpu/kernels/matmul_ahead.inc"
#include "cpu/kernels/matmul_finish.inc"
//
#include "cpu/kernels/matmul_dot_bf16.inc"
//
#include "cpu/kernels/matmul_dot.inc"
//
#include "cpu/kernels/amx_multiply.inc"
//
#include "cpu/kernels/amx_matmul.inc"

}  // namespace

const MatmulKernels& matmul_kernels(DType dtype) {
  return dtype == DType::kBF16 ? kTiles : avx512::matmul_kernels(dtype);
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
#endif  // __x86_64__
