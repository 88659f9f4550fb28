// SPDX-License-Identifier: Apache-2.0
// When products of a warpgroup (sm_90a) begin and end. All words are for the whole warpgroup, converged.
#pragma once

namespace fovea {

// Before the first product, and after registers of d were written otherwise.
// docs.nvidia.com/cuda/parallel-thread-execution, "wgmma.fence"
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// docs.nvidia.com/cuda/parallel-thread-execution, "wgmma.commit_group"
__device__ inline void wgmma_commit_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// All but the newest `pending` groups are done. "wgmma.wait_group"
template <int pending>
__device__ inline void wgmma_wait_group() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// Keeps reads of x behind the wait above it.
template <int n>
__device__ inline void after_wait(float (&x)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) asm volatile("" : "+f"(x[i])::"memory");
}

}  // namespace fovea
