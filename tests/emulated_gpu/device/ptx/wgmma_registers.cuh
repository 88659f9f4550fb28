// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/wgmma_registers.cuh.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma.cuh"

namespace fovea {

template <int n, DType dtype>
struct Wgmma {
  static constexpr bool kIsBf16 = dtype == DType::kBF16;
  static void product(float (&d)[n / 2], unsigned long long a, unsigned long long b) {
    emulated::engine->wgmma({d, n, kIsBf16, false, false, false, nullptr, a, b});
  }
  static void add(float (&d)[n / 2], unsigned long long a, unsigned long long b) {
    emulated::engine->wgmma({d, n, kIsBf16, true, false, false, nullptr, a, b});
  }
  static void add_transposed(float (&d)[n / 2], const unsigned* a, unsigned long long b) {
    emulated::engine->wgmma({d, n, kIsBf16, true, false, true, a, 0, b});
  }
};

}  // namespace fovea
