// SPDX-License-Identifier: Apache-2.0
// How one instruction set's code is kept to itself: a region of functions compiled for a target, inside a namespace
// named after it. No file is compiled with -m flags: an inline function of a library header would then be compiled for
// the higher instruction set and the linker might pick that copy for everybody.
#pragma once

#define FOVEA_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define FOVEA_ISA_BEGIN(features) \
  FOVEA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define FOVEA_ISA_END FOVEA_PRAGMA(clang attribute pop)
#define FOVEA_UNROLL _Pragma("clang loop unroll(full)")
#else
// g++ 12 takes the undefined pass-through operand inside its own AVX-512 intrinsics for a use of ours (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define FOVEA_ISA_BEGIN(features) _Pragma("GCC push_options") FOVEA_PRAGMA(GCC target(features))
#define FOVEA_ISA_END _Pragma("GCC pop_options")
// Every loop over an array of accumulators needs it, the last store included, or GCC keeps the array in memory.
#define FOVEA_UNROLL _Pragma("GCC unroll 64")
#endif

/// A word: always inlined, of internal linkage, so that no copy of it is left for the linker to share.
#define FOVEA_WORD static inline __attribute__((always_inline))

#define FOVEA_TARGET_AVX2 "avx2,fma,f16c"
#define FOVEA_TARGET_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
#define FOVEA_TARGET_AVX512BF16 "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"
