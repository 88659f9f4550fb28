// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/stmatrix.cuh.
#pragma once

namespace fovea {

inline void stmatrix_x4(unsigned address, unsigned a, unsigned b, unsigned c, unsigned d) {
  unsigned registers[4] = {a, b, c, d};
  emulated::MatrixWords words = {registers, address};
  emulated::engine->meet(emulated::WarpWord::kStmatrix, 0xffffffffu, &words);
}

}  // namespace fovea
