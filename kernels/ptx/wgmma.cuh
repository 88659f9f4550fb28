// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup (sm_90a): d (64 x n, fp32 in registers) += a (64 x 16) b (16 x n), operands in shared memory
// by descriptor. With w = warp of the group, g = lane / 4 and t = lane % 4: d[4 i + 0..1] is (16 w + g, 8 i + 2 t..)
// and d[4 i + 2..3] is (16 w + g + 8, 8 i + 2 t..). All four words are for the whole warpgroup, converged.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma_group.cuh"

namespace fovea {

// The instruction names every register of d: numbers and operands come in groups of eight.
// clang-format off
#define FOVEA_N0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define FOVEA_N1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define FOVEA_N2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define FOVEA_N3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define FOVEA_N4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define FOVEA_N5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define FOVEA_N6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define FOVEA_N7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define FOVEA_N8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define FOVEA_N9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define FOVEA_N10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define FOVEA_N11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define FOVEA_N12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define FOVEA_N13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define FOVEA_N14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define FOVEA_N15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define FOVEA_D0(f) f (d[0]), f (d[1]), f (d[2]), f (d[3]), f (d[4]), f (d[5]), f (d[6]), f (d[7])
#define FOVEA_D1(f) f (d[8]), f (d[9]), f (d[10]), f (d[11]), f (d[12]), f (d[13]), f (d[14]), f (d[15])
#define FOVEA_D2(f) f (d[16]), f (d[17]), f (d[18]), f (d[19]), f (d[20]), f (d[21]), f (d[22]), f (d[23])
#define FOVEA_D3(f) f (d[24]), f (d[25]), f (d[26]), f (d[27]), f (d[28]), f (d[29]), f (d[30]), f (d[31])
#define FOVEA_D4(f) f (d[32]), f (d[33]), f (d[34]), f (d[35]), f (d[36]), f (d[37]), f (d[38]), f (d[39])
#define FOVEA_D5(f) f (d[40]), f (d[41]), f (d[42]), f (d[43]), f (d[44]), f (d[45]), f (d[46]), f (d[47])
#define FOVEA_D6(f) f (d[48]), f (d[49]), f (d[50]), f (d[51]), f (d[52]), f (d[53]), f (d[54]), f (d[55])
#define FOVEA_D7(f) f (d[56]), f (d[57]), f (d[58]), f (d[59]), f (d[60]), f (d[61]), f (d[62]), f (d[63])
#define FOVEA_D8(f) f (d[64]), f (d[65]), f (d[66]), f (d[67]), f (d[68]), f (d[69]), f (d[70]), f (d[71])
#define FOVEA_D9(f) f (d[72]), f (d[73]), f (d[74]), f (d[75]), f (d[76]), f (d[77]), f (d[78]), f (d[79])
#define FOVEA_D10(f) f (d[80]), f (d[81]), f (d[82]), f (d[83]), f (d[84]), f (d[85]), f (d[86]), f (d[87])
#define FOVEA_D11(f) f (d[88]), f (d[89]), f (d[90]), f (d[91]), f (d[92]), f (d[93]), f (d[94]), f (d[95])
#define FOVEA_D12(f) f (d[96]), f (d[97]), f (d[98]), f (d[99]), f (d[100]), f (d[101]), f (d[102]), f (d[103])
#define FOVEA_D13(f) f (d[104]), f (d[105]), f (d[106]), f (d[107]), f (d[108]), f (d[109]), f (d[110]), f (d[111])
#define FOVEA_D14(f) f (d[112]), f (d[113]), f (d[114]), f (d[115]), f (d[116]), f (d[117]), f (d[118]), f (d[119])
#define FOVEA_D15(f) f (d[120]), f (d[121]), f (d[122]), f (d[123]), f (d[124]), f (d[125]), f (d[126]), f (d[127])
// clang-format on

#define FOVEA_OPERANDS_HALF(f) f(d[0]), f(d[1]), f(d[2]), f(d[3])
#define FOVEA_NUMBERS_1 FOVEA_N0
#define FOVEA_OPERANDS_1(f) FOVEA_D0(f)
#define FOVEA_NUMBERS_2 FOVEA_NUMBERS_1 ", " FOVEA_N1
#define FOVEA_OPERANDS_2(f) FOVEA_OPERANDS_1(f), FOVEA_D1(f)
#define FOVEA_NUMBERS_3 FOVEA_NUMBERS_2 ", " FOVEA_N2
#define FOVEA_OPERANDS_3(f) FOVEA_OPERANDS_2(f), FOVEA_D2(f)
#define FOVEA_NUMBERS_4 FOVEA_NUMBERS_3 ", " FOVEA_N3
#define FOVEA_OPERANDS_4(f) FOVEA_OPERANDS_3(f), FOVEA_D3(f)
#define FOVEA_NUMBERS_5 FOVEA_NUMBERS_4 ", " FOVEA_N4
#define FOVEA_OPERANDS_5(f) FOVEA_OPERANDS_4(f), FOVEA_D4(f)
#define FOVEA_NUMBERS_6 FOVEA_NUMBERS_5 ", " FOVEA_N5
#define FOVEA_OPERANDS_6(f) FOVEA_OPERANDS_5(f), FOVEA_D5(f)
#define FOVEA_NUMBERS_7 FOVEA_NUMBERS_6 ", " FOVEA_N6
#define FOVEA_OPERANDS_7(f) FOVEA_OPERANDS_6(f), FOVEA_D6(f)
#define FOVEA_NUMBERS_8 FOVEA_NUMBERS_7 ", " FOVEA_N7
#define FOVEA_OPERANDS_8(f) FOVEA_OPERANDS_7(f), FOVEA_D7(f)
#define FOVEA_NUMBERS_9 FOVEA_NUMBERS_8 ", " FOVEA_N8
#define FOVEA_OPERANDS_9(f) FOVEA_OPERANDS_8(f), FOVEA_D8(f)
#define FOVEA_NUMBERS_10 FOVEA_NUMBERS_9 ", " FOVEA_N9
#define FOVEA_OPERANDS_10(f) FOVEA_OPERANDS_9(f), FOVEA_D9(f)
#define FOVEA_NUMBERS_11 FOVEA_NUMBERS_10 ", " FOVEA_N10
#define FOVEA_OPERANDS_11(f) FOVEA_OPERANDS_10(f), FOVEA_D10(f)
#define FOVEA_NUMBERS_12 FOVEA_NUMBERS_11 ", " FOVEA_N11
#define FOVEA_OPERANDS_12(f) FOVEA_OPERANDS_11(f), FOVEA_D11(f)
#define FOVEA_NUMBERS_13 FOVEA_NUMBERS_12 ", " FOVEA_N12
#define FOVEA_OPERANDS_13(f) FOVEA_OPERANDS_12(f), FOVEA_D12(f)
#define FOVEA_NUMBERS_14 FOVEA_NUMBERS_13 ", " FOVEA_N13
#define FOVEA_OPERANDS_14(f) FOVEA_OPERANDS_13(f), FOVEA_D13(f)
#define FOVEA_NUMBERS_15 FOVEA_NUMBERS_14 ", " FOVEA_N14
#define FOVEA_OPERANDS_15(f) FOVEA_OPERANDS_14(f), FOVEA_D14(f)
#define FOVEA_NUMBERS_16 FOVEA_NUMBERS_15 ", " FOVEA_N15
#define FOVEA_OPERANDS_16(f) FOVEA_OPERANDS_15(f), FOVEA_D15(f)

// docs.nvidia.com/cuda/parallel-thread-execution, "wgmma.mma_async"; numbers of a, b, accumulate, the two majors.
#define FOVEA_WGMMA_ASM(n, type, numbers, a, b, p, ta, tb, accumulate, ...)                                            \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %" #p ", 0;\n wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type \
               "." type " {" numbers "}, %" #a ", %" #b ", p, 1, 1, %" #ta ", %" #tb ";\n}"                            \
               : __VA_ARGS__                                                                                           \
               : "l"(a_descriptor), "l"(b_descriptor), "n"(accumulate), "n"(int{a_mn_major}), "n"(int{b_mn_major})     \
               : "memory")

// Two words, as a product that does not accumulate must not keep the old d alive.
#define FOVEA_WGMMA(n, numbers, operands, a, b, p, ta, tb)                                     \
  template <DType dtype, bool a_mn_major, bool b_mn_major>                                     \
  __device__ inline void wgmma_m64k16(float(&d)[n / 2], unsigned long long a_descriptor,       \
                                      unsigned long long b_descriptor) {                       \
    if constexpr (dtype == DType::kBF16) {                                                     \
      FOVEA_WGMMA_ASM(n, "bf16", numbers, a, b, p, ta, tb, 1, operands("+f"));                 \
    } else {                                                                                   \
      FOVEA_WGMMA_ASM(n, "f16", numbers, a, b, p, ta, tb, 1, operands("+f"));                  \
    }                                                                                          \
  }                                                                                            \
  template <DType dtype, bool a_mn_major, bool b_mn_major>                                     \
  __device__ inline void wgmma_m64k16_first(float(&d)[n / 2], unsigned long long a_descriptor, \
                                            unsigned long long b_descriptor) {                 \
    if constexpr (dtype == DType::kBF16) {                                                     \
      FOVEA_WGMMA_ASM(n, "bf16", numbers, a, b, p, ta, tb, 0, operands("=f"));                 \
    } else {                                                                                   \
      FOVEA_WGMMA_ASM(n, "f16", numbers, a, b, p, ta, tb, 0, operands("=f"));                  \
    }                                                                                          \
  }

// Operands of 8 and 32 bits lie with k contiguous: no majors.
#define FOVEA_WGMMA_K_MAJOR_ASM(n, step, numbers, a, b, p, accumulate, ...)                                 \
  asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %" #p ", 0;\n wgmma.mma_async.sync.aligned.m64n" #n step \
               " {" numbers "}, %" #a ", %" #b ", p, 1, 1;\n}"                                              \
               : __VA_ARGS__                                                                                \
               : "l"(a_descriptor), "l"(b_descriptor), "n"(accumulate)                                      \
               : "memory")
#define FOVEA_WGMMA_K_MAJOR(word, step, n, numbers, operands, a, b, p)                                              \
  __device__ inline void word(float(&d)[n / 2], unsigned long long a_descriptor, unsigned long long b_descriptor) { \
    FOVEA_WGMMA_K_MAJOR_ASM(n, step, numbers, a, b, p, 1, operands("+f"));                                          \
  }                                                                                                                 \
  __device__ inline void word##_first(float(&d)[n / 2], unsigned long long a_descriptor,                            \
                                      unsigned long long b_descriptor) {                                            \
    FOVEA_WGMMA_K_MAJOR_ASM(n, step, numbers, a, b, p, 0, operands("=f"));                                          \
  }
#define FOVEA_WGMMA_E4M3(n, numbers, operands, a, b, p, unused_1, unused_2) \
  FOVEA_WGMMA_K_MAJOR(wgmma_m64k32_e4m3, "k32.f32.e4m3.e4m3", n, numbers, operands, a, b, p)
#define FOVEA_WGMMA_TF32(n, numbers, operands, a, b, p, unused_1, unused_2) \
  FOVEA_WGMMA_K_MAJOR(wgmma_m64k8_tf32, "k8.f32.tf32.tf32", n, numbers, operands, a, b, p)

// d += a b with a in registers: a[0] is (16 w + g, t), a[1] (16 w + g + 8, t), a[2] and a[3] the same of k = t + 4.
#define FOVEA_WGMMA_TF32_REGISTERS(n, numbers, operands, a0, a1, a2, a3, b)                                       \
  __device__ inline void wgmma_m64k8_tf32_registers(float(&d)[n / 2], const unsigned(&a)[4],                      \
                                                    unsigned long long b_descriptor) {                            \
    asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, 1, 0;\n wgmma.mma_async.sync.aligned.m64n" #n                \
                 "k8.f32.tf32.tf32 {" numbers "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b ", p, 1, 1;\n}" \
                 : operands("+f")                                                                                 \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b_descriptor)                                  \
                 : "memory");                                                                                     \
  }

// Widths, and the numbers of the operands after d.
// clang-format off
#define FOVEA_EACH_WIDTH(f) \
  f (8, "%0, %1, %2, %3", FOVEA_OPERANDS_HALF, 4, 5, 6, 7, 8) \
  f (16, FOVEA_NUMBERS_1, FOVEA_OPERANDS_1, 8, 9, 10, 11, 12) \
  f (32, FOVEA_NUMBERS_2, FOVEA_OPERANDS_2, 16, 17, 18, 19, 20) \
  f (48, FOVEA_NUMBERS_3, FOVEA_OPERANDS_3, 24, 25, 26, 27, 28) \
  f (64, FOVEA_NUMBERS_4, FOVEA_OPERANDS_4, 32, 33, 34, 35, 36) \
  f (80, FOVEA_NUMBERS_5, FOVEA_OPERANDS_5, 40, 41, 42, 43, 44) \
  f (96, FOVEA_NUMBERS_6, FOVEA_OPERANDS_6, 48, 49, 50, 51, 52) \
  f (112, FOVEA_NUMBERS_7, FOVEA_OPERANDS_7, 56, 57, 58, 59, 60) \
  f (128, FOVEA_NUMBERS_8, FOVEA_OPERANDS_8, 64, 65, 66, 67, 68) \
  f (144, FOVEA_NUMBERS_9, FOVEA_OPERANDS_9, 72, 73, 74, 75, 76) \
  f (160, FOVEA_NUMBERS_10, FOVEA_OPERANDS_10, 80, 81, 82, 83, 84) \
  f (176, FOVEA_NUMBERS_11, FOVEA_OPERANDS_11, 88, 89, 90, 91, 92) \
  f (192, FOVEA_NUMBERS_12, FOVEA_OPERANDS_12, 96, 97, 98, 99, 100) \
  f (208, FOVEA_NUMBERS_13, FOVEA_OPERANDS_13, 104, 105, 106, 107, 108) \
  f (224, FOVEA_NUMBERS_14, FOVEA_OPERANDS_14, 112, 113, 114, 115, 116) \
  f (240, FOVEA_NUMBERS_15, FOVEA_OPERANDS_15, 120, 121, 122, 123, 124) \
  f (256, FOVEA_NUMBERS_16, FOVEA_OPERANDS_16, 128, 129, 130, 131, 132)
// clang-format on

/// d += a b; wgmma_m64k16_first is d = a b. n is twice the size of d. dtype of a and b: kBF16 or kF16.
FOVEA_EACH_WIDTH(FOVEA_WGMMA)
/// The same for 32 steps of k of e4m3, whose sums are rounded down to some 14 bits: add up few steps.
FOVEA_EACH_WIDTH(FOVEA_WGMMA_E4M3)
/// The same for 8 steps of k of fp32 as TF32, whose last 13 bits are not looked at.
FOVEA_EACH_WIDTH(FOVEA_WGMMA_TF32)
/// The same, a in registers.
FOVEA_EACH_WIDTH(FOVEA_WGMMA_TF32_REGISTERS)

}  // namespace fovea
