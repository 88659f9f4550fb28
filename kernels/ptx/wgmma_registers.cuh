// SPDX-License-Identifier: Apache-2.0
// The two products of attention by a warpgroup (sm_90a): scores = a b, and d += p b with p a function of the scores
// that the caller computes. Their registers have names in PTX and are no operands of the words: to the compiler an
// operand costs time, 64 of each word a third of it. So they are one set per kernel, and are read and written by the
// words here only. wgmma.cuh says how scores and d are laid out; p is as in mma_m16n8k16 for the warp's 16 rows.
// Macros, because an instruction's operands are a literal. docs.nvidia.com/cuda/parallel-thread-execution, "wgmma".
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma_group.cuh"

namespace fovea {

// Bit n / 16: products of width n are needed. A kernel that says so is compiled 9 ms sooner.
#ifndef FOVEA_WGMMA_WIDTHS
#define FOVEA_WGMMA_WIDTHS 0x1fffe
#endif

/// The instructions of one width and type.
template <int n, DType dtype>
struct WgmmaWord;

// Names of the first 8, 16, ... registers called x.
#define FOVEA_EIGHT(x, a, b, c, d, e, f, g, h) x a ", " x b ", " x c ", " x d ", " x e ", " x f ", " x g ", " x h
#define FOVEA_NAMES_1(x) FOVEA_EIGHT(x, "0", "1", "2", "3", "4", "5", "6", "7")
#define FOVEA_NAMES_2(x) FOVEA_NAMES_1(x) ", " FOVEA_EIGHT(x, "8", "9", "10", "11", "12", "13", "14", "15")
#define FOVEA_NAMES_3(x) FOVEA_NAMES_2(x) ", " FOVEA_EIGHT(x, "16", "17", "18", "19", "20", "21", "22", "23")
#define FOVEA_NAMES_4(x) FOVEA_NAMES_3(x) ", " FOVEA_EIGHT(x, "24", "25", "26", "27", "28", "29", "30", "31")
#define FOVEA_NAMES_5(x) FOVEA_NAMES_4(x) ", " FOVEA_EIGHT(x, "32", "33", "34", "35", "36", "37", "38", "39")
#define FOVEA_NAMES_6(x) FOVEA_NAMES_5(x) ", " FOVEA_EIGHT(x, "40", "41", "42", "43", "44", "45", "46", "47")
#define FOVEA_NAMES_7(x) FOVEA_NAMES_6(x) ", " FOVEA_EIGHT(x, "48", "49", "50", "51", "52", "53", "54", "55")
#define FOVEA_NAMES_8(x) FOVEA_NAMES_7(x) ", " FOVEA_EIGHT(x, "56", "57", "58", "59", "60", "61", "62", "63")
#define FOVEA_NAMES_9(x) FOVEA_NAMES_8(x) ", " FOVEA_EIGHT(x, "64", "65", "66", "67", "68", "69", "70", "71")
#define FOVEA_NAMES_10(x) FOVEA_NAMES_9(x) ", " FOVEA_EIGHT(x, "72", "73", "74", "75", "76", "77", "78", "79")
#define FOVEA_NAMES_11(x) FOVEA_NAMES_10(x) ", " FOVEA_EIGHT(x, "80", "81", "82", "83", "84", "85", "86", "87")
#define FOVEA_NAMES_12(x) FOVEA_NAMES_11(x) ", " FOVEA_EIGHT(x, "88", "89", "90", "91", "92", "93", "94", "95")
#define FOVEA_NAMES_13(x) FOVEA_NAMES_12(x) ", " FOVEA_EIGHT(x, "96", "97", "98", "99", "100", "101", "102", "103")
#define FOVEA_NAMES_14(x) FOVEA_NAMES_13(x) ", " FOVEA_EIGHT(x, "104", "105", "106", "107", "108", "109", "110", "111")
#define FOVEA_NAMES_15(x) FOVEA_NAMES_14(x) ", " FOVEA_EIGHT(x, "112", "113", "114", "115", "116", "117", "118", "119")
#define FOVEA_NAMES_16(x) FOVEA_NAMES_15(x) ", " FOVEA_EIGHT(x, "120", "121", "122", "123", "124", "125", "126", "127")

#define FOVEA_WGMMA(n, name, d, eights, accumulates)                                                                \
  "{.reg .pred p; setp.ne.u32 p, " accumulates ", 0; wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." name "." name \
  " {" FOVEA_NAMES_##eights(d) "}, "
#define FOVEA_WGMMA_WORD(n, eights, type, name)                                                                \
  template <>                                                                                                  \
  struct WgmmaWord<n, DType::type> {                                                                           \
    __device__ static void scores(unsigned long long a, unsigned long long b) {                                \
      asm volatile(FOVEA_WGMMA(n, name, "fovea_s", eights, "0") "%0, %1, p, 1, 1, 0, 0;}" ::"l"(a), "l"(b));   \
    }                                                                                                          \
    __device__ static void add_scores(unsigned long long a, unsigned long long b) {                            \
      asm volatile(FOVEA_WGMMA(n, name, "fovea_s", eights, "1") "%0, %1, p, 1, 1, 0, 0;}" ::"l"(a), "l"(b));   \
    }                                                                                                          \
    /* b N-major */                                                                                            \
    template <int p>                                                                                           \
    __device__ static void add_weighted(unsigned long long b) {                                                \
      asm volatile(FOVEA_WGMMA(n, name, "fovea_d", eights,                                                     \
                               "1") "{fovea_p%1, fovea_p%2, fovea_p%3, fovea_p%4}, %0, p, 1, 1, 1;}" ::"l"(b), \
                   "n"(p), "n"(p + 1), "n"(p + 2), "n"(p + 3));                                                \
    }                                                                                                          \
  };
#define FOVEA_WGMMA_WORDS(n, eights)         \
  FOVEA_WGMMA_WORD(n, eights, kBF16, "bf16") \
  FOVEA_WGMMA_WORD(n, eights, kF16, "f16")
#if FOVEA_WGMMA_WIDTHS >> 1 & 1
FOVEA_WGMMA_WORDS(16, 1)
#endif
#if FOVEA_WGMMA_WIDTHS >> 2 & 1
FOVEA_WGMMA_WORDS(32, 2)
#endif
#if FOVEA_WGMMA_WIDTHS >> 3 & 1
FOVEA_WGMMA_WORDS(48, 3)
#endif
#if FOVEA_WGMMA_WIDTHS >> 4 & 1
FOVEA_WGMMA_WORDS(64, 4)
#endif
#if FOVEA_WGMMA_WIDTHS >> 5 & 1
FOVEA_WGMMA_WORDS(80, 5)
#endif
#if FOVEA_WGMMA_WIDTHS >> 6 & 1
FOVEA_WGMMA_WORDS(96, 6)
#endif
#if FOVEA_WGMMA_WIDTHS >> 7 & 1
FOVEA_WGMMA_WORDS(112, 7)
#endif
#if FOVEA_WGMMA_WIDTHS >> 8 & 1
FOVEA_WGMMA_WORDS(128, 8)
#endif
#if FOVEA_WGMMA_WIDTHS >> 9 & 1
FOVEA_WGMMA_WORDS(144, 9)
#endif
#if FOVEA_WGMMA_WIDTHS >> 10 & 1
FOVEA_WGMMA_WORDS(160, 10)
#endif
#if FOVEA_WGMMA_WIDTHS >> 11 & 1
FOVEA_WGMMA_WORDS(176, 11)
#endif
#if FOVEA_WGMMA_WIDTHS >> 12 & 1
FOVEA_WGMMA_WORDS(192, 12)
#endif
#if FOVEA_WGMMA_WIDTHS >> 13 & 1
FOVEA_WGMMA_WORDS(208, 13)
#endif
#if FOVEA_WGMMA_WIDTHS >> 14 & 1
FOVEA_WGMMA_WORDS(224, 14)
#endif
#if FOVEA_WGMMA_WIDTHS >> 15 & 1
FOVEA_WGMMA_WORDS(240, 15)
#endif
#if FOVEA_WGMMA_WIDTHS >> 16 & 1
FOVEA_WGMMA_WORDS(256, 16)
#endif
#undef FOVEA_WGMMA_WORDS
#undef FOVEA_WGMMA_WORD
#undef FOVEA_WGMMA
#undef FOVEA_NAMES_1
#undef FOVEA_NAMES_2
#undef FOVEA_NAMES_3
#undef FOVEA_NAMES_4
#undef FOVEA_NAMES_5
#undef FOVEA_NAMES_6
#undef FOVEA_NAMES_7
#undef FOVEA_NAMES_8
#undef FOVEA_NAMES_9
#undef FOVEA_NAMES_10
#undef FOVEA_NAMES_11
#undef FOVEA_NAMES_12
#undef FOVEA_NAMES_13
#undef FOVEA_NAMES_14
#undef FOVEA_NAMES_15
#undef FOVEA_NAMES_16
#undef FOVEA_EIGHT

/// The registers of both products: scores 64 x n_scores and, packed, p; d 64 x n_d. All words but declare() are for the
/// whole warpgroup; reads and writes come after a wait for the products of what they read or write.
template <int n_scores, int n_d, DType dtype>
struct TwoProducts {
  /// Once, where the kernel begins, so that the names stand before their uses.
  __device__ static void declare() {
    asm volatile(".reg .f32 fovea_s<%0>;\n .reg .f32 fovea_d<%1>;\n .reg .b32 fovea_p<%2>;" ::"n"(n_scores / 2),
                 "n"(n_d / 2), "n"(n_scores / 4));
  }

  /// scores = a b in steps of 16, one descriptor each.
  template <int steps>
  __device__ void start_scores(const unsigned long long (&a)[steps], const unsigned long long (&b)[steps]) {
    WgmmaWord<n_scores, dtype>::scores(a[0], b[0]);
#pragma unroll
    for (int i = 1; i < steps; ++i) WgmmaWord<n_scores, dtype>::add_scores(a[i], b[i]);
  }
  /// d += p b, b N-major, 16 rows of it per descriptor.
  __device__ void start_weighted(const unsigned long long (&b)[n_scores / 16]) { weighted_from<0>(b); }

  __device__ void read_scores(float (&s)[n_scores / 2]) const { scores_from<0>(s); }
  __device__ void read_d(float (&d)[n_d / 2]) const { d_from<0>(d); }
  __device__ void write_p(const unsigned (&p)[n_scores / 4]) { p_from<0>(p); }
  __device__ void clear_d() { clear_from<0>(); }
  /// By the lane's two rows.
  __device__ void scale_d(float row_0, float row_1) { scale_from<0>(row_0, row_1); }

 private:
  // Eight or four registers per word.
  template <int i>
  __device__ void weighted_from(const unsigned long long (&b)[n_scores / 16]) {
    WgmmaWord<n_d, dtype>::template add_weighted<4 * i>(b[i]);
    if constexpr (i + 1 < n_scores / 16) weighted_from<i + 1>(b);
  }
  template <int i>
  __device__ void scores_from(float (&s)[n_scores / 2]) const {
    asm volatile(
        "mov.f32 %0, fovea_s%8; mov.f32 %1, fovea_s%9; mov.f32 %2, fovea_s%10; mov.f32 %3, fovea_s%11; "
        "mov.f32 %4, fovea_s%12; mov.f32 %5, fovea_s%13; mov.f32 %6, fovea_s%14; mov.f32 %7, fovea_s%15;"
        : "=f"(s[i]), "=f"(s[i + 1]), "=f"(s[i + 2]), "=f"(s[i + 3]), "=f"(s[i + 4]), "=f"(s[i + 5]), "=f"(s[i + 6]),
          "=f"(s[i + 7])
        : "n"(i), "n"(i + 1), "n"(i + 2), "n"(i + 3), "n"(i + 4), "n"(i + 5), "n"(i + 6), "n"(i + 7));
    if constexpr (i + 8 < n_scores / 2) scores_from<i + 8>(s);
  }
  template <int i>
  __device__ void d_from(float (&d)[n_d / 2]) const {
    asm volatile(
        "mov.f32 %0, fovea_d%8; mov.f32 %1, fovea_d%9; mov.f32 %2, fovea_d%10; mov.f32 %3, fovea_d%11; "
        "mov.f32 %4, fovea_d%12; mov.f32 %5, fovea_d%13; mov.f32 %6, fovea_d%14; mov.f32 %7, fovea_d%15;"
        : "=f"(d[i]), "=f"(d[i + 1]), "=f"(d[i + 2]), "=f"(d[i + 3]), "=f"(d[i + 4]), "=f"(d[i + 5]), "=f"(d[i + 6]),
          "=f"(d[i + 7])
        : "n"(i), "n"(i + 1), "n"(i + 2), "n"(i + 3), "n"(i + 4), "n"(i + 5), "n"(i + 6), "n"(i + 7));
    if constexpr (i + 8 < n_d / 2) d_from<i + 8>(d);
  }
  template <int i>
  __device__ void p_from(const unsigned (&p)[n_scores / 4]) {
    asm volatile(
        "mov.b32 fovea_p%4, %0; mov.b32 fovea_p%5, %1; mov.b32 fovea_p%6, %2; mov.b32 fovea_p%7, %3;" ::"r"(p[i]),
        "r"(p[i + 1]), "r"(p[i + 2]), "r"(p[i + 3]), "n"(i), "n"(i + 1), "n"(i + 2), "n"(i + 3));
    if constexpr (i + 4 < n_scores / 4) p_from<i + 4>(p);
  }
  template <int i>
  __device__ void clear_from() {
    asm volatile(
        "mov.f32 fovea_d%0, 0f00000000; mov.f32 fovea_d%1, 0f00000000; mov.f32 fovea_d%2, 0f00000000; "
        "mov.f32 fovea_d%3, 0f00000000;" ::"n"(i),
        "n"(i + 1), "n"(i + 2), "n"(i + 3));
    if constexpr (i + 4 < n_d / 2) clear_from<i + 4>();
  }
  template <int i>
  __device__ void scale_from(float row_0, float row_1) {
    asm volatile(
        "mul.f32 fovea_d%2, fovea_d%2, %0; mul.f32 fovea_d%3, fovea_d%3, %0; mul.f32 fovea_d%4, fovea_d%4, %1; "
        "mul.f32 fovea_d%5, fovea_d%5, %1;" ::"f"(row_0),
        "f"(row_1), "n"(i), "n"(i + 1), "n"(i + 2), "n"(i + 3));
    if constexpr (i + 4 < n_d / 2) scale_from<i + 4>(row_0, row_1);
  }
};

}  // namespace fovea
