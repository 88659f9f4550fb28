// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/global.cuh.
#pragma once

namespace fovea {

inline void st_global_v2(void* to, unsigned x, unsigned y) { *static_cast<uint2*>(to) = uint2{x, y}; }

}  // namespace fovea
