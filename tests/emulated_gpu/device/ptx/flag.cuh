// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/flag.cuh. Blocks run one after another: who waits for a later block waits for ever.
#pragma once

namespace fovea {

inline void st_release_gpu(int* at, int value) { *at = value; }
inline int ld_acquire_gpu(const int* at) {
  if (*at == 0) emulated::engine->fail("a block waits for one that has not run");
  return *at;
}

}  // namespace fovea
