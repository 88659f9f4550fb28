// SPDX-License-Identifier: Apache-2.0
// Blocks of a cluster (sm_90): rank, barrier, shared memory of the others.
#pragma once

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "%cluster_ctarank"
__device__ inline unsigned cluster_ctarank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// Every thread of every block of the cluster; orders all their memory accesses. "barrier.cluster"
__device__ inline void barrier_cluster() {
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

// The same without ordering anything: nobody goes on before all have come.
__device__ inline void barrier_cluster_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}

// Its two halves, for what must be so far before others go on.
__device__ inline void barrier_cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ inline void barrier_cluster_wait() { asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); }

// The address of the same place in another block's shared memory. "mapa"
__device__ inline unsigned mapa(unsigned shared, unsigned rank) {
  unsigned remote;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared), "r"(rank));
  return remote;
}

// docs.nvidia.com/cuda/parallel-thread-execution, "ld.shared::cluster"
__device__ inline float4 ld_shared_cluster_v4(unsigned remote) {
  float4 x;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
               : "r"(remote)
               : "memory");
  return x;
}

// docs.nvidia.com/cuda/parallel-thread-execution, "st.shared::cluster"
__device__ inline void st_shared_cluster(unsigned remote, float x) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(remote), "f"(x) : "memory");
}
__device__ inline void st_shared_cluster_v2(unsigned remote, float x, float y) {
  asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(remote), "f"(x), "f"(y) : "memory");
}

}  // namespace fovea
