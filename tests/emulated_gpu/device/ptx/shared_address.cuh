// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/shared_address.cuh.
#pragma once

namespace fovea {

inline unsigned shared_address(const void* pointer) { return static_cast<unsigned>(__cvta_generic_to_shared(pointer)); }

}  // namespace fovea
