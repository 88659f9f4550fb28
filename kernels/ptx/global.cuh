// SPDX-License-Identifier: Apache-2.0
// Stores to global memory whose width the compiler must not change.
#pragma once

namespace fovea {

// 8 bytes at a multiple of 8. docs.nvidia.com/cuda/parallel-thread-execution, "st"
__device__ inline void st_global_v2(void* to, unsigned x, unsigned y) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(to), "r"(x), "r"(y) : "memory");
}

}  // namespace fovea
