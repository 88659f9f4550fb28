// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/ldmatrix.cuh.
#pragma once

namespace fovea {

inline void ldmatrix_x4(unsigned (&d)[4], unsigned address) {
  emulated::MatrixWords words = {d, address};
  emulated::engine->meet(emulated::WarpWord::kLdmatrix, 0xffffffffu, &words);
}
inline void ldmatrix_x4_trans(unsigned (&d)[4], unsigned address) {
  emulated::MatrixWords words = {d, address};
  emulated::engine->meet(emulated::WarpWord::kLdmatrixTransposed, 0xffffffffu, &words);
}

}  // namespace fovea
