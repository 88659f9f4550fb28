// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/wgmma_registers.cuh.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma.cuh"

namespace fovea {

template <int n, DType dtype>
struct Wgmma {
  static constexpr emulated::Number kNumber = emulated::number_of(dtype);
  template <int steps>
  static void product(float (&d)[n / 2], const unsigned long long (&a)[steps], const unsigned long long (&b)[steps]) {
    for (int i = 0; i < steps; ++i) emulated::engine->wgmma({d, n, kNumber, i > 0, false, false, nullptr, a[i], b[i]});
  }
  template <int steps>
  static void add_transposed(float (&d)[n / 2], const unsigned (&a)[4 * steps], const unsigned long long (&b)[steps]) {
    for (int i = 0; i < steps; ++i) emulated::engine->wgmma({d, n, kNumber, true, false, true, a + 4 * i, 0, b[i]});
  }
};

}  // namespace fovea
