// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup for attention (sm_90a), d = a b + d, fp32 accumulators: m64nNk16 for every N that is a
// multiple of 16, a also from registers (as in mma_m16n8k16 for the warp's 16 rows, b then N-major), and none of them a
// barrier to the compiler for memory: fences, commits and waits are (wgmma_group.cuh); wgmma.cuh says how d is laid
// out. docs.nvidia.com/cuda/parallel-thread-execution, "wgmma". Macros, because an instruction's operands are a
// literal.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma_group.cuh"

namespace fovea {

// Bit n / 16: products of width n are needed. A kernel that says so is compiled 15 ms sooner.
#ifndef FOVEA_WGMMA_WIDTHS
#define FOVEA_WGMMA_WIDTHS 0x1fffe
#endif

/// The instruction of one width and type, and four of them in one word: the compiler's time goes by operands of words.
template <int n, DType dtype>
struct WgmmaWord;

// clang-format off
#define FOVEA_RN8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define FOVEA_RN16 FOVEA_RN8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define FOVEA_RN24 FOVEA_RN16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define FOVEA_RN32 FOVEA_RN24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define FOVEA_RN40 FOVEA_RN32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define FOVEA_RN48 FOVEA_RN40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define FOVEA_RN56 FOVEA_RN48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define FOVEA_RN64 FOVEA_RN56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define FOVEA_RN72 FOVEA_RN64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define FOVEA_RN80 FOVEA_RN72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define FOVEA_RN88 FOVEA_RN80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define FOVEA_RN96 FOVEA_RN88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define FOVEA_RN104 FOVEA_RN96 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define FOVEA_RN112 FOVEA_RN104 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define FOVEA_RN120 FOVEA_RN112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define FOVEA_RN128 FOVEA_RN120 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define FOVEA_RW8 "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3]), "=f"(d[4]), "=f"(d[5]), "=f"(d[6]), "=f"(d[7])
#define FOVEA_RW16 FOVEA_RW8, \
  "=f"(d[8]), "=f"(d[9]), "=f"(d[10]), "=f"(d[11]), "=f"(d[12]), "=f"(d[13]), "=f"(d[14]), "=f"(d[15])
#define FOVEA_RW24 FOVEA_RW16, \
  "=f"(d[16]), "=f"(d[17]), "=f"(d[18]), "=f"(d[19]), "=f"(d[20]), "=f"(d[21]), "=f"(d[22]), "=f"(d[23])
#define FOVEA_RW32 FOVEA_RW24, \
  "=f"(d[24]), "=f"(d[25]), "=f"(d[26]), "=f"(d[27]), "=f"(d[28]), "=f"(d[29]), "=f"(d[30]), "=f"(d[31])
#define FOVEA_RW40 FOVEA_RW32, \
  "=f"(d[32]), "=f"(d[33]), "=f"(d[34]), "=f"(d[35]), "=f"(d[36]), "=f"(d[37]), "=f"(d[38]), "=f"(d[39])
#define FOVEA_RW48 FOVEA_RW40, \
  "=f"(d[40]), "=f"(d[41]), "=f"(d[42]), "=f"(d[43]), "=f"(d[44]), "=f"(d[45]), "=f"(d[46]), "=f"(d[47])
#define FOVEA_RW56 FOVEA_RW48, \
  "=f"(d[48]), "=f"(d[49]), "=f"(d[50]), "=f"(d[51]), "=f"(d[52]), "=f"(d[53]), "=f"(d[54]), "=f"(d[55])
#define FOVEA_RW64 FOVEA_RW56, \
  "=f"(d[56]), "=f"(d[57]), "=f"(d[58]), "=f"(d[59]), "=f"(d[60]), "=f"(d[61]), "=f"(d[62]), "=f"(d[63])
#define FOVEA_RW72 FOVEA_RW64, \
  "=f"(d[64]), "=f"(d[65]), "=f"(d[66]), "=f"(d[67]), "=f"(d[68]), "=f"(d[69]), "=f"(d[70]), "=f"(d[71])
#define FOVEA_RW80 FOVEA_RW72, \
  "=f"(d[72]), "=f"(d[73]), "=f"(d[74]), "=f"(d[75]), "=f"(d[76]), "=f"(d[77]), "=f"(d[78]), "=f"(d[79])
#define FOVEA_RW88 FOVEA_RW80, \
  "=f"(d[80]), "=f"(d[81]), "=f"(d[82]), "=f"(d[83]), "=f"(d[84]), "=f"(d[85]), "=f"(d[86]), "=f"(d[87])
#define FOVEA_RW96 FOVEA_RW88, \
  "=f"(d[88]), "=f"(d[89]), "=f"(d[90]), "=f"(d[91]), "=f"(d[92]), "=f"(d[93]), "=f"(d[94]), "=f"(d[95])
#define FOVEA_RW104 FOVEA_RW96, \
  "=f"(d[96]), "=f"(d[97]), "=f"(d[98]), "=f"(d[99]), "=f"(d[100]), "=f"(d[101]), "=f"(d[102]), "=f"(d[103])
#define FOVEA_RW112 FOVEA_RW104, \
  "=f"(d[104]), "=f"(d[105]), "=f"(d[106]), "=f"(d[107]), "=f"(d[108]), "=f"(d[109]), "=f"(d[110]), "=f"(d[111])
#define FOVEA_RW120 FOVEA_RW112, \
  "=f"(d[112]), "=f"(d[113]), "=f"(d[114]), "=f"(d[115]), "=f"(d[116]), "=f"(d[117]), "=f"(d[118]), "=f"(d[119])
#define FOVEA_RW128 FOVEA_RW120, \
  "=f"(d[120]), "=f"(d[121]), "=f"(d[122]), "=f"(d[123]), "=f"(d[124]), "=f"(d[125]), "=f"(d[126]), "=f"(d[127])
#define FOVEA_RA8 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define FOVEA_RA16 FOVEA_RA8, \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define FOVEA_RA24 FOVEA_RA16, \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define FOVEA_RA32 FOVEA_RA24, \
  "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define FOVEA_RA40 FOVEA_RA32, \
  "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
#define FOVEA_RA48 FOVEA_RA40, \
  "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define FOVEA_RA56 FOVEA_RA48, \
  "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
#define FOVEA_RA64 FOVEA_RA56, \
  "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define FOVEA_RA72 FOVEA_RA64, \
  "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
#define FOVEA_RA80 FOVEA_RA72, \
  "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define FOVEA_RA88 FOVEA_RA80, \
  "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
#define FOVEA_RA96 FOVEA_RA88, \
  "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define FOVEA_RA104 FOVEA_RA96, \
  "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
#define FOVEA_RA112 FOVEA_RA104, \
  "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define FOVEA_RA120 FOVEA_RA112, \
  "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
#define FOVEA_RA128 FOVEA_RA120, \
  "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
#define FOVEA_WGMMA_OF(n, regs, name) "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." name "." name " {" FOVEA_RN##regs "}, "
#define FOVEA_WGMMA_STRUCT(n, regs, type, name, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, ia, ib, ic, id, ie, if_, ig, ih, ii, ij) \
  template <>                                                                                                         \
  struct WgmmaWord<n, DType::type> {                                                                                  \
    /* d = a b */                                                                                                     \
    __device__ static void product(float (&d)[regs], unsigned long long a, unsigned long long b) {                    \
      asm volatile("{.reg .pred p; setp.ne.u32 p, 0, 0; "                                                             \
                   FOVEA_WGMMA_OF(n, regs, name) i0 ", " i1 ", p, 1, 1, 0, 0;}"                                       \
                   : FOVEA_RW##regs : "l"(a), "l"(b));                                                                \
    }                                                                                                                 \
    /* d += a b */                                                                                                    \
    __device__ static void add(float (&d)[regs], unsigned long long a, unsigned long long b) {                        \
      asm volatile("{.reg .pred p; setp.ne.u32 p, 1, 0; "                                                             \
                   FOVEA_WGMMA_OF(n, regs, name) i0 ", " i1 ", p, 1, 1, 0, 0;}"                                       \
                   : FOVEA_RA##regs : "l"(a), "l"(b));                                                                \
    }                                                                                                                 \
    __device__ static void add_four(float (&d)[regs], const unsigned long long* a, const unsigned long long* b) {     \
      asm volatile("{.reg .pred p; setp.ne.u32 p, 1, 0; "                                                             \
                   FOVEA_WGMMA_OF(n, regs, name) i0 ", " i1 ", p, 1, 1, 0, 0; "                                       \
                   FOVEA_WGMMA_OF(n, regs, name) i2 ", " i3 ", p, 1, 1, 0, 0; "                                       \
                   FOVEA_WGMMA_OF(n, regs, name) i4 ", " i5 ", p, 1, 1, 0, 0; "                                       \
                   FOVEA_WGMMA_OF(n, regs, name) i6 ", " i7 ", p, 1, 1, 0, 0;}"                                       \
                   : FOVEA_RA##regs                                                                                   \
                   : "l"(a[0]), "l"(b[0]), "l"(a[1]), "l"(b[1]), "l"(a[2]), "l"(b[2]), "l"(a[3]), "l"(b[3]));         \
    }                                                                                                                 \
    /* d += a b, a in registers, b N-major */                                                                         \
    __device__ static void add_transposed(float (&d)[regs], const unsigned* a, unsigned long long b) {                \
      asm volatile("{.reg .pred p; setp.ne.u32 p, 1, 0; "                                                             \
                   FOVEA_WGMMA_OF(n, regs, name) "{" i0 ", " i1 ", " i2 ", " i3 "}, " i4 ", p, 1, 1, 1;}"             \
                   : FOVEA_RA##regs : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                            \
    }                                                                                                                 \
    __device__ static void add_four_transposed(float (&d)[regs], const unsigned* a, const unsigned long long* b) {    \
      asm volatile("{.reg .pred p; setp.ne.u32 p, 1, 0; "                                                             \
                   FOVEA_WGMMA_OF(n, regs, name) "{" i0 ", " i1 ", " i2 ", " i3 "}, " i4 ", p, 1, 1, 1; "             \
                   FOVEA_WGMMA_OF(n, regs, name) "{" i5 ", " i6 ", " i7 ", " i8 "}, " i9 ", p, 1, 1, 1; "             \
                   FOVEA_WGMMA_OF(n, regs, name) "{" ia ", " ib ", " ic ", " id "}, " ie ", p, 1, 1, 1; "             \
                   FOVEA_WGMMA_OF(n, regs, name) "{" if_ ", " ig ", " ih ", " ii "}, " ij ", p, 1, 1, 1;}"            \
                   : FOVEA_RA##regs                                                                                   \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b[0]), "r"(a[4]), "r"(a[5]), "r"(a[6]),          \
                     "r"(a[7]), "l"(b[1]), "r"(a[8]), "r"(a[9]), "r"(a[10]), "r"(a[11]), "l"(b[2]), "r"(a[12]),       \
                     "r"(a[13]), "r"(a[14]), "r"(a[15]), "l"(b[3]));                                                  \
    }                                                                                                                 \
  };
#define FOVEA_WGMMA_TYPES(n, regs, ...)                        \
  FOVEA_WGMMA_STRUCT(n, regs, kBF16, "bf16", __VA_ARGS__) \
  FOVEA_WGMMA_STRUCT(n, regs, kF16, "f16", __VA_ARGS__)
#if FOVEA_WGMMA_WIDTHS >> 1 & 1
FOVEA_WGMMA_TYPES(16, 8, "%8", "%9", "%10", "%11", "%12", "%13", "%14", "%15", "%16", "%17", "%18", "%19", "%20", "%21", "%22", "%23", "%24", "%25", "%26", "%27")
#endif
#if FOVEA_WGMMA_WIDTHS >> 2 & 1
FOVEA_WGMMA_TYPES(32, 16, "%16", "%17", "%18", "%19", "%20", "%21", "%22", "%23", "%24", "%25", "%26", "%27", "%28", "%29", "%30", "%31", "%32", "%33", "%34", "%35")
#endif
#if FOVEA_WGMMA_WIDTHS >> 3 & 1
FOVEA_WGMMA_TYPES(48, 24, "%24", "%25", "%26", "%27", "%28", "%29", "%30", "%31", "%32", "%33", "%34", "%35", "%36", "%37", "%38", "%39", "%40", "%41", "%42", "%43")
#endif
#if FOVEA_WGMMA_WIDTHS >> 4 & 1
FOVEA_WGMMA_TYPES(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38", "%39", "%40", "%41", "%42", "%43", "%44", "%45", "%46", "%47", "%48", "%49", "%50", "%51")
#endif
#if FOVEA_WGMMA_WIDTHS >> 5 & 1
FOVEA_WGMMA_TYPES(80, 40, "%40", "%41", "%42", "%43", "%44", "%45", "%46", "%47", "%48", "%49", "%50", "%51", "%52", "%53", "%54", "%55", "%56", "%57", "%58", "%59")
#endif
#if FOVEA_WGMMA_WIDTHS >> 6 & 1
FOVEA_WGMMA_TYPES(96, 48, "%48", "%49", "%50", "%51", "%52", "%53", "%54", "%55", "%56", "%57", "%58", "%59", "%60", "%61", "%62", "%63", "%64", "%65", "%66", "%67")
#endif
#if FOVEA_WGMMA_WIDTHS >> 7 & 1
FOVEA_WGMMA_TYPES(112, 56, "%56", "%57", "%58", "%59", "%60", "%61", "%62", "%63", "%64", "%65", "%66", "%67", "%68", "%69", "%70", "%71", "%72", "%73", "%74", "%75")
#endif
#if FOVEA_WGMMA_WIDTHS >> 8 & 1
FOVEA_WGMMA_TYPES(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70", "%71", "%72", "%73", "%74", "%75", "%76", "%77", "%78", "%79", "%80", "%81", "%82", "%83")
#endif
#if FOVEA_WGMMA_WIDTHS >> 9 & 1
FOVEA_WGMMA_TYPES(144, 72, "%72", "%73", "%74", "%75", "%76", "%77", "%78", "%79", "%80", "%81", "%82", "%83", "%84", "%85", "%86", "%87", "%88", "%89", "%90", "%91")
#endif
#if FOVEA_WGMMA_WIDTHS >> 10 & 1
FOVEA_WGMMA_TYPES(160, 80, "%80", "%81", "%82", "%83", "%84", "%85", "%86", "%87", "%88", "%89", "%90", "%91", "%92", "%93", "%94", "%95", "%96", "%97", "%98", "%99")
#endif
#if FOVEA_WGMMA_WIDTHS >> 11 & 1
FOVEA_WGMMA_TYPES(176, 88, "%88", "%89", "%90", "%91", "%92", "%93", "%94", "%95", "%96", "%97", "%98", "%99", "%100", "%101", "%102", "%103", "%104", "%105", "%106", "%107")
#endif
#if FOVEA_WGMMA_WIDTHS >> 12 & 1
FOVEA_WGMMA_TYPES(192, 96, "%96", "%97", "%98", "%99", "%100", "%101", "%102", "%103", "%104", "%105", "%106", "%107", "%108", "%109", "%110", "%111", "%112", "%113", "%114", "%115")
#endif
#if FOVEA_WGMMA_WIDTHS >> 13 & 1
FOVEA_WGMMA_TYPES(208, 104, "%104", "%105", "%106", "%107", "%108", "%109", "%110", "%111", "%112", "%113", "%114", "%115", "%116", "%117", "%118", "%119", "%120", "%121", "%122", "%123")
#endif
#if FOVEA_WGMMA_WIDTHS >> 14 & 1
FOVEA_WGMMA_TYPES(224, 112, "%112", "%113", "%114", "%115", "%116", "%117", "%118", "%119", "%120", "%121", "%122", "%123", "%124", "%125", "%126", "%127", "%128", "%129", "%130", "%131")
#endif
#if FOVEA_WGMMA_WIDTHS >> 15 & 1
FOVEA_WGMMA_TYPES(240, 120, "%120", "%121", "%122", "%123", "%124", "%125", "%126", "%127", "%128", "%129", "%130", "%131", "%132", "%133", "%134", "%135", "%136", "%137", "%138", "%139")
#endif
#if FOVEA_WGMMA_WIDTHS >> 16 & 1
FOVEA_WGMMA_TYPES(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134", "%135", "%136", "%137", "%138", "%139", "%140", "%141", "%142", "%143", "%144", "%145", "%146", "%147")
#endif
#undef FOVEA_WGMMA_TYPES
#undef FOVEA_WGMMA_STRUCT
#undef FOVEA_WGMMA_OF
#undef FOVEA_RN8
#undef FOVEA_RW8
#undef FOVEA_RA8
#undef FOVEA_RN16
#undef FOVEA_RW16
#undef FOVEA_RA16
#undef FOVEA_RN24
#undef FOVEA_RW24
#undef FOVEA_RA24
#undef FOVEA_RN32
#undef FOVEA_RW32
#undef FOVEA_RA32
#undef FOVEA_RN40
#undef FOVEA_RW40
#undef FOVEA_RA40
#undef FOVEA_RN48
#undef FOVEA_RW48
#undef FOVEA_RA48
#undef FOVEA_RN56
#undef FOVEA_RW56
#undef FOVEA_RA56
#undef FOVEA_RN64
#undef FOVEA_RW64
#undef FOVEA_RA64
#undef FOVEA_RN72
#undef FOVEA_RW72
#undef FOVEA_RA72
#undef FOVEA_RN80
#undef FOVEA_RW80
#undef FOVEA_RA80
#undef FOVEA_RN88
#undef FOVEA_RW88
#undef FOVEA_RA88
#undef FOVEA_RN96
#undef FOVEA_RW96
#undef FOVEA_RA96
#undef FOVEA_RN104
#undef FOVEA_RW104
#undef FOVEA_RA104
#undef FOVEA_RN112
#undef FOVEA_RW112
#undef FOVEA_RA112
#undef FOVEA_RN120
#undef FOVEA_RW120
#undef FOVEA_RA120
#undef FOVEA_RN128
#undef FOVEA_RW128
#undef FOVEA_RA128
// clang-format on

/// Products in several steps of 16, one descriptor each.
template <int n, DType dtype>
struct Wgmma {
  using Word = WgmmaWord<n, dtype>;

  /// d = a b
  template <int steps>
  __device__ static void product(float (&d)[n / 2], const unsigned long long (&a)[steps],
                                 const unsigned long long (&b)[steps]) {
    Word::product(d, a[0], b[0]);
    constexpr int kSingle = 1 + (steps - 1) % 4;
#pragma unroll
    for (int i = 1; i < kSingle; ++i) Word::add(d, a[i], b[i]);
#pragma unroll
    for (int i = kSingle; i < steps; i += 4) Word::add_four(d, a + i, b + i);
  }
  /// d += a b, four registers of a per step, b N-major
  template <int steps>
  __device__ static void add_transposed(float (&d)[n / 2], const unsigned (&a)[4 * steps],
                                        const unsigned long long (&b)[steps]) {
#pragma unroll
    for (int i = 0; i < steps % 4; ++i) Word::add_transposed(d, a + 4 * i, b[i]);
#pragma unroll
    for (int i = steps % 4; i < steps; i += 4) Word::add_four_transposed(d, a + 4 * i, b + i);
  }
};

}  // namespace fovea
