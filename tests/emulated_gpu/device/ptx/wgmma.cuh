// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/wgmma.cuh.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma_group.cuh"

namespace fovea {

namespace emulated {
constexpr Number number_of(DType dtype) { return dtype == DType::kBF16 ? Number::kBf16 : Number::kF16; }
}  // namespace emulated

template <DType dtype, bool a_mn_major, bool b_mn_major, int sums>
inline void wgmma_m64k16(float (&d)[sums], unsigned long long a, unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::number_of(dtype), true, a_mn_major, b_mn_major, nullptr, a, b});
}
template <DType dtype, bool a_mn_major, bool b_mn_major, int sums>
inline void wgmma_m64k16_first(float (&d)[sums], unsigned long long a, unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::number_of(dtype), false, a_mn_major, b_mn_major, nullptr, a, b});
}

template <int sums>
inline void wgmma_m64k32_e4m3(float (&d)[sums], unsigned long long a, unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::Number::kE4m3, true, false, false, nullptr, a, b});
}
template <int sums>
inline void wgmma_m64k32_e4m3_first(float (&d)[sums], unsigned long long a, unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::Number::kE4m3, false, false, false, nullptr, a, b});
}

template <int sums>
inline void wgmma_m64k8_tf32(float (&d)[sums], unsigned long long a, unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::Number::kTf32, true, false, false, nullptr, a, b});
}
template <int sums>
inline void wgmma_m64k8_tf32_first(float (&d)[sums], unsigned long long a, unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::Number::kTf32, false, false, false, nullptr, a, b});
}
template <int sums>
inline void wgmma_m64k8_tf32_registers(float (&d)[sums], const unsigned (&a)[4], unsigned long long b) {
  emulated::engine->wgmma({d, 2 * sums, emulated::Number::kTf32, true, false, false, a, 0, b});
}

}  // namespace fovea
