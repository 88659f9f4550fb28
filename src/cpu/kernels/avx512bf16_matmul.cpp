// SPDX-License-Identifier: Apache-2.0
// Matrix products of bf16 by vdpbf16ps: pairs along k are one 32-bit word of a panel, which otherwise looks as one of
// fp32 does. bf16 denormals count as zero there. Other types are the AVX-512 unit's.
#if defined(__x86_64__)
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/simd/avx512.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::avx512bf16 {
namespace {

using namespace avx512;

// No tail: rounded sums are half as many bytes to store, and a column's six sums wait for each other (15 cycles
// slower).
constexpr int kRows = 6, kVectors = 4, kTail = 0, kUnroll = 4, kBlockK = 1024;
constexpr int kStepBytes = 4, kElementBytes = 2;

template <typename T>
FOVEA_WORD void store_result(T* p, Vec x) {
  store_row(p, x);
}
/// One instruction instead of eight; it takes denormals for zero, as the products do.
FOVEA_WORD void store_result(Bfloat16* p, Vec x) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(x)); }

FOVEA_WORD Vec multiply_add(Vec a, Vec b, Vec sum) {
  return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}

#include "cpu/kernels/matmul_finish.inc"
#include "cpu/kernels/matmul_pairs.inc"
//
#include "cpu/kernels/matmul_ahead.inc"
#include "cpu/kernels/matmul_tile.inc"
//
#include "cpu/kernels/matmul_dot_bf16.inc"
//
#include "cpu/kernels/matmul_dot.inc"

constexpr MatmulKernels kPairs = {
    .isa = "avx512bf16",
    .products = "bf16 pairs",
    .tile_rows = kRows,
    .tile_columns = kColumns,
    .depth = 2,
    .element_bytes = kElementBytes,
    .block_k = kBlockK,
    .takes_rows_of_a = true,
    .packs_rows_of_b = true,
    .pack_a = pack_pairs<kRows>,
    .pack_b = pack_pairs<kColumns>,
    .multiply = multiply<Bfloat16>,
    .multiply_lines = multiply_lines<Bfloat16>,
};

}  // namespace

const MatmulKernels& matmul_kernels(DType dtype) {
  return dtype == DType::kBF16 ? kPairs : avx512::matmul_kernels(dtype);
}

}  // namespace fovea::cpu::avx512bf16
FOVEA_ISA_END
#endif  // __x86_64__
