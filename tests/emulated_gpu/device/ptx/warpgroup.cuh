// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/warpgroup.cuh.
#pragma once

namespace fovea {

template <int registers>
inline void setmaxnreg_dec() {
  emulated::engine->set_registers(registers, false);
}
template <int registers>
inline void setmaxnreg_inc() {
  emulated::engine->set_registers(registers, true);
}
inline void bar_sync(int id, int threads) { emulated::engine->named_barrier(id, threads, true); }
inline void bar_arrive(int id, int threads) { emulated::engine->named_barrier(id, threads, false); }

}  // namespace fovea
