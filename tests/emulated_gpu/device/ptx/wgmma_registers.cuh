// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/wgmma_registers.cuh.
#pragma once

#include "contract/dtype.h"
#include "kernels/ptx/wgmma.cuh"

namespace fovea {

template <int n_scores, int n_d, DType dtype>
struct TwoProducts {
  static constexpr emulated::Number kNumber = emulated::number_of(dtype);
  float s[n_scores / 2], d[n_d / 2];
  unsigned p[n_scores / 4];

  static void declare() {}
  template <int steps>
  void start_scores(const unsigned long long (&a)[steps], const unsigned long long (&b)[steps]) {
    for (int i = 0; i < steps; ++i) {
      emulated::engine->wgmma({s, n_scores, kNumber, i > 0, false, false, nullptr, a[i], b[i]});
    }
  }
  void start_weighted(const unsigned long long (&b)[n_scores / 16]) {
    for (int i = 0; i < n_scores / 16; ++i) {
      emulated::engine->wgmma({d, n_d, kNumber, true, false, true, p + 4 * i, 0, b[i]});
    }
  }
  void read_scores(float (&to)[n_scores / 2]) const { copy(to, s); }
  void read_d(float (&to)[n_d / 2]) const { copy(to, d); }
  void write_p(const unsigned (&from)[n_scores / 4]) { copy(p, from); }
  void clear_d() {
    for (float& x : d) x = 0.0f;
  }
  void scale_d(float row_0, float row_1) {
    for (int i = 0; i < n_d / 2; ++i) d[i] *= i % 4 < 2 ? row_0 : row_1;
  }

 private:
  template <typename T, int n>
  static void copy(T (&to)[n], const T (&from)[n]) {
    for (int i = 0; i < n; ++i) to[i] = from[i];
  }
};

}  // namespace fovea
