// SPDX-License-Identifier: Apache-2.0
// A number in global memory by which one block tells another that its writes are done.
#pragma once

namespace fovea {

// Everything that this thread has written, or has seen at a barrier, is visible to who acquires the value.
// docs.nvidia.com/cuda/parallel-thread-execution, "st.release"
__device__ inline void st_release_gpu(int* at, int value) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

// docs.nvidia.com/cuda/parallel-thread-execution, "ld.acquire"
__device__ inline int ld_acquire_gpu(const int* at) {
  int value;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}

}  // namespace fovea
