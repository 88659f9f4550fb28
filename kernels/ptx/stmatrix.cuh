// SPDX-License-Identifier: Apache-2.0
// Stores of 8 x 8 matrices of 16-bit elements to shared memory (sm_90): lane l gives the address of row l % 8 of matrix
// l / 8, and holds elements (l / 4, 2 * (l % 4)) and the one to its right of each.
#pragma once

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "stmatrix"
__device__ inline void stmatrix_x4(unsigned address, unsigned a, unsigned b, unsigned c, unsigned d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b),
               "r"(c), "r"(d)
               : "memory");
}

}  // namespace fovea
