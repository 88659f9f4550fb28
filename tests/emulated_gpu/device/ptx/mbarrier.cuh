// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/mbarrier.cuh.
#pragma once

namespace fovea {

inline void mbarrier_init(unsigned barrier, int arrivals) { emulated::engine->mbarrier_init(barrier, arrivals); }
inline void fence_mbarrier_init() {}
inline void mbarrier_arrive_expect_tx(unsigned barrier, int bytes) {
  emulated::engine->mbarrier_arrive(barrier, bytes);
}
inline void mbarrier_arrive(unsigned barrier) { emulated::engine->mbarrier_arrive(barrier, 0); }
inline void mbarrier_arrive_cluster(unsigned barrier, unsigned rank) {
  emulated::engine->mbarrier_arrive(emulated::engine->map_rank(barrier, rank), 0);
}
inline void mbarrier_wait(unsigned barrier, unsigned parity) { emulated::engine->mbarrier_wait(barrier, parity); }

}  // namespace fovea
