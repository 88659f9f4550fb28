// SPDX-License-Identifier: Apache-2.0
// Copies from global to shared memory that run beside the arithmetic (sm_80).
#pragma once

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "cp.async"; past the first-level cache
__device__ inline void cp_async_cg_16(unsigned shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}

// Reads only source_bytes (0 to 16) and writes zeros for the rest.
__device__ inline void cp_async_cg_16(unsigned shared, const void* global, int source_bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(source_bytes)
               : "memory");
}

__device__ inline void cp_async_ca_8(unsigned shared, const void* global, int source_bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared), "l"(global), "r"(source_bytes) : "memory");
}

__device__ inline void cp_async_ca_4(unsigned shared, const void* global, int source_bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(source_bytes) : "memory");
}

// docs.nvidia.com/cuda/parallel-thread-execution, "cp.async.commit_group"
__device__ inline void cp_async_commit_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// All but this thread's newest `pending` groups have landed; other threads see them after a barrier.
// docs.nvidia.com/cuda/parallel-thread-execution, "cp.async.wait_group"
template <int pending>
__device__ inline void cp_async_wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace fovea
