// SPDX-License-Identifier: Apache-2.0
// What a warpgroup (four warps from a multiple of four on) shares: registers, and barriers among some warps of a block.
#pragma once

namespace fovea {

// All four warps execute it. Gives registers back to the block; 24 to 256, a multiple of 8.
// docs.nvidia.com/cuda/parallel-thread-execution, "setmaxnreg"
template <int registers>
__device__ inline void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

// Waits until the block has so many to give.
template <int registers>
__device__ inline void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

// Waits for `threads` threads at barrier `id`, 1 to 15 (0 is __syncthreads). "barrier.cta"
__device__ inline void bar_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Counts as having come, and goes on.
__device__ inline void bar_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace fovea
