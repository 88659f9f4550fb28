// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/wgmma_registers.cuh.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma.cuh"

namespace fovea {

template <int n, DType dtype>
struct Wgmma {
  static constexpr emulated::Number kNumber = emulated::number_of(dtype);
  static void product(float (&d)[n / 2], unsigned long long a, unsigned long long b) {
    emulated::engine->wgmma({d, n, kNumber, false, false, false, nullptr, a, b});
  }
  static void add(float (&d)[n / 2], unsigned long long a, unsigned long long b) {
    emulated::engine->wgmma({d, n, kNumber, true, false, false, nullptr, a, b});
  }
  static void add_transposed(float (&d)[n / 2], const unsigned* a, unsigned long long b) {
    emulated::engine->wgmma({d, n, kNumber, true, false, true, a, 0, b});
  }
};

}  // namespace fovea
