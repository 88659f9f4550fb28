// SPDX-License-Identifier: Apache-2.0
// A ring of shared buffers between warps that fill and warps that use: per buffer a barrier "full" and one "empty".
// The only place with phase bits. A filler's first lap finds every buffer empty, since it tests the opposite phase.
#pragma once

#include "kernels/ptx/mbarrier.cuh"

namespace fovea {

/// One side's place in a ring; advance() once per buffer that it is done with. One register where stages is a power of
/// two.
template <int stages, bool is_power_of_two = (stages & (stages - 1)) == 0>
struct RingPlace {
  unsigned count = 0;
  __device__ int slot() const { return count % stages; }
  __device__ unsigned phase() const { return count / stages % 2; }
  __device__ void advance(bool does = true) { count += does; }
  __device__ RingPlace previous() const { return {count - 1}; }
};

template <int stages>
struct RingPlace<stages, false> {
  int at = 0;
  unsigned lap = 0;
  __device__ int slot() const { return at; }
  __device__ unsigned phase() const { return lap; }
  __device__ void advance(bool does = true) {
    at += does;
    if (at == stages) {
      at = 0;
      lap ^= 1;
    }
  }
  __device__ RingPlace previous() const { return at == 0 ? RingPlace{stages - 1, lap ^ 1} : RingPlace{at - 1, lap}; }
};

/// The barriers of a ring at a shared-memory address: all "full", then all "empty"; 16 * stages bytes.
template <int stages>
struct Ring {
  using Place = RingPlace<stages>;
  unsigned barriers;

  __device__ unsigned full(int slot) const { return barriers + 8 * slot; }
  __device__ unsigned empty(int slot) const { return barriers + 8 * (stages + slot); }

  /// By one thread. users: arrivals that empty a buffer.
  __device__ void init(int users) const {
#pragma unroll
    for (int i = 0; i < stages; ++i) {
      mbarrier_init(full(i), 1);
      mbarrier_init(empty(i), users);
    }
  }
  __device__ void wait_full(const Place& at) const { mbarrier_wait(full(at.slot()), at.phase()); }
  __device__ void wait_empty(const Place& at) const { mbarrier_wait(empty(at.slot()), at.phase() ^ 1); }
  /// By a whole warp: one arrival. Without a branch, whether it does or not.
  __device__ void release(const Place& at, bool does = true) const {
    __syncwarp();
    if (threadIdx.x % 32 == 0 && does) mbarrier_arrive(empty(at.slot()));
  }
};

}  // namespace fovea
