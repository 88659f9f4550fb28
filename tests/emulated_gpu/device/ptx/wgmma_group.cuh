// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/wgmma_group.cuh.
#pragma once

namespace fovea {

inline void wgmma_fence() { emulated::engine->wgmma_fence(); }
inline void wgmma_commit_group() { emulated::engine->wgmma_commit(); }
template <int pending>
inline void wgmma_wait_group() {
  emulated::engine->wgmma_wait(pending);
}
template <int n>
inline void after_wait(float (&x)[n]) {
  __asm__ volatile("" ::"r"(&x) : "memory");
}

}  // namespace fovea
