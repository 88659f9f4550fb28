// SPDX-License-Identifier: Apache-2.0
// Loads of 8 x 8 matrices of 16-bit elements from shared memory (sm_75). Lane l gives the address of row l % 8 of
// matrix l / 8 and receives elements (l / 4, 2 * (l % 4)) and the one to its right of each matrix.
#pragma once

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "ldmatrix"
__device__ inline void ldmatrix_x4(unsigned (&d)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address));
}

// The same with each matrix transposed on its way.
__device__ inline void ldmatrix_x4_trans(unsigned (&d)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address));
}

}  // namespace fovea
