// SPDX-License-Identifier: Apache-2.0
// Barriers in shared memory that count arrivals and bytes of bulk copies (sm_90). A phase ends when both counts are
// met; a wait names the parity of the phase that it waits for, and returns at once on a phase that ended before.
#pragma once

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "mbarrier.init"
__device__ inline void mbarrier_init(unsigned barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes the inits visible to the copy engine and to the cluster; a barrier of the block or cluster must follow.
// docs.nvidia.com/cuda/parallel-thread-execution, "fence.mbarrier_init"
__device__ inline void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// One arrival, and bytes that copies will still bring in this phase. "mbarrier.arrive.expect_tx"
__device__ inline void mbarrier_arrive_expect_tx(unsigned barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// docs.nvidia.com/cuda/parallel-thread-execution, "mbarrier.arrive"
__device__ inline void mbarrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// At the barrier at the same place in block `rank` of this cluster, the own block's too. Without a scope of the
// cluster: with one the compiler fences all of global memory, which costs a quarter of a matrix product's time. What is
// told here is that wgmma has read its operands, and that a copy by the engine may follow. "mapa", "mbarrier.arrive"
__device__ inline void mbarrier_arrive_cluster(unsigned barrier, unsigned rank) {
  asm volatile(
      "{\n .reg .b32 remote;\n mapa.shared::cluster.u32 remote, %0, %1;\n"
      " mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

// docs.nvidia.com/cuda/parallel-thread-execution, "mbarrier.try_wait"
__device__ inline void mbarrier_wait(unsigned barrier, unsigned parity) {
  asm volatile(
      "{\n .reg .pred done;\nwait%=:\n mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n @!done bra "
      "wait%=;\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

}  // namespace fovea
