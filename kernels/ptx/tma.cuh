// SPDX-License-Identifier: Apache-2.0
// Copies by the bulk tensor copy engine (sm_90). A tensor map is a kernel parameter, const __grid_constant__; shared
// addresses are multiples of 128 bytes. Elements outside the tensor arrive as zeros and count as bytes; stores leave
// them out.
#pragma once

#include "contract/tensor_maps.h"

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "prefetch.tensormap"
__device__ inline void prefetch_tensormap(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/// Where a box begins, in elements; x is the contiguous dimension. A tensor of fewer dimensions has extents of 1.
struct BoxPlace {
  int x, y, z, u, v;
};

// A map of rank 4: at.v is not read.
__device__ inline void cp_async_bulk_tensor_4d(unsigned shared, const TensorMap& map, unsigned barrier,
                                               const BoxPlace& at) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(shared),
      "l"(&map), "r"(barrier), "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.u)
      : "memory");
}

// Its bytes count at the barrier. docs.nvidia.com/cuda/parallel-thread-execution, "cp.async.bulk.tensor"
__device__ inline void cp_async_bulk_tensor_5d(unsigned shared, const TensorMap& map, unsigned barrier,
                                               const BoxPlace& at) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared),
      "l"(&map), "r"(barrier), "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.u), "r"(at.v)
      : "memory");
}

// The same into every block of the cluster whose bit is set, at the same place, counted at each one's own barrier.
__device__ inline void cp_async_bulk_tensor_5d_multicast(unsigned shared, const TensorMap& map, unsigned barrier,
                                                         const BoxPlace& at, unsigned short blocks) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(shared),
      "l"(&map), "r"(barrier), "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.u), "r"(at.v), "h"(blocks)
      : "memory");
}

// From shared to global memory, in this thread's bulk group.
__device__ inline void cp_async_bulk_tensor_5d_store(const TensorMap& map, unsigned shared, const BoxPlace& at) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(&map),
      "r"(shared), "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.u), "r"(at.v)
      : "memory");
}

// docs.nvidia.com/cuda/parallel-thread-execution, "cp.async.bulk.commit_group"
__device__ inline void cp_async_bulk_commit_group() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// All but this thread's newest `pending` groups have read their shared memory. "cp.async.bulk.wait_group"
template <int pending>
__device__ inline void cp_async_bulk_wait_group_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}

// Orders this thread's ordinary accesses of shared memory before later ones by the copy engine or by wgmma.
// docs.nvidia.com/cuda/parallel-thread-execution, "fence.proxy.async"
__device__ inline void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace fovea
