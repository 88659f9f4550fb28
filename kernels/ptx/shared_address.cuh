// SPDX-License-Identifier: Apache-2.0
// Shared-memory addresses as the 32-bit numbers that PTX instructions take.
#pragma once

namespace fovea {

// docs.nvidia.com/cuda/parallel-thread-execution, "cvta"
__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

}  // namespace fovea
