// SPDX-License-Identifier: Apache-2.0
// One-instruction arithmetic whose C++ spelling would add range handling.
#pragma once

namespace fovea {

// 2^x to 2 ulp; -inf gives 0. docs.nvidia.com/cuda/parallel-thread-execution, "ex2"
__device__ inline float ex2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Base 2, to 2^-22 of it, or of 1 if it is smaller. docs.nvidia.com/cuda/parallel-thread-execution, "lg2"
__device__ inline float lg2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// docs.nvidia.com/cuda/parallel-thread-execution, "rcp.approx.ftz.f32"
__device__ inline float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// low in the low half. docs.nvidia.com/cuda/parallel-thread-execution, "cvt"; sm_80
__device__ inline unsigned cvt_rn_bf16x2(float high, float low) {
  unsigned d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}

// sm_80
__device__ inline unsigned cvt_rn_f16x2(float high, float low) {
  unsigned d;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}

__device__ inline unsigned short cvt_rn_f16(float x) {
  unsigned short d;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(d) : "f"(x));
  return d;
}

__device__ inline float cvt_f32_f16(unsigned short x) {
  float d;
  asm("cvt.f32.f16 %0, %1;" : "=f"(d) : "h"(x));
  return d;
}

// fp32 with 10 bits of mantissa, to nearest, ties away from zero. docs.nvidia.com/cuda/parallel-thread-execution,
// "cvt"; sm_80
__device__ inline unsigned cvt_rna_tf32(float x) {
  unsigned d;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(d) : "f"(x));
  return d;
}

}  // namespace fovea
