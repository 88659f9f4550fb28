// SPDX-License-Identifier: Apache-2.0
// Maximum and sum over groups of neighbouring lanes; every lane of the warp takes part and every lane gets the result.
#pragma once

namespace fovea {

inline constexpr unsigned kWholeWarp = 0xffffffffu;

/// lanes: a power of two, the size of the group. NaN is passed over.
template <int lanes>
__device__ inline float lanes_max(float x) {
#pragma unroll
  for (int distance = 1; distance < lanes; distance *= 2) x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, distance));
  return x;
}

template <int lanes>
__device__ inline float lanes_sum(float x) {
#pragma unroll
  for (int distance = 1; distance < lanes; distance *= 2) x += __shfl_xor_sync(kWholeWarp, x, distance);
  return x;
}

}  // namespace fovea
