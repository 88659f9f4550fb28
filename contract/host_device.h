// SPDX-License-Identifier: Apache-2.0
// One macro, so that the same function compiles for the host and for the GPU.
#pragma once

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif

namespace fovea {

// NVRTC has no <cstdint>; these are the widths that both sides use in shared structs.
using Int64 = long long;
static_assert(sizeof(Int64) == 8 && sizeof(int) == 4, "shared structs need 64-bit long long and 32-bit int");

template <typename T>
HOST_DEVICE constexpr T min_of(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
HOST_DEVICE constexpr T max_of(T a, T b) {
  return a > b ? a : b;
}
HOST_DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

}  // namespace fovea
