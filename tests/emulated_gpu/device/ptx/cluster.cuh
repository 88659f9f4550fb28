// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/cluster.cuh.
#pragma once

namespace fovea {

inline unsigned cluster_ctarank() { return emulated::engine->current->rank; }
inline void barrier_cluster() { emulated::engine->cluster_barrier(); }
inline void barrier_cluster_relaxed() { emulated::engine->cluster_barrier(); }
// The halves: all meet in the second.
inline void barrier_cluster_arrive_relaxed() {}
inline void barrier_cluster_wait() { emulated::engine->cluster_barrier(); }
inline unsigned mapa(unsigned shared, unsigned rank) { return emulated::engine->map_rank(shared, rank); }
inline float4 ld_shared_cluster_v4(unsigned remote) {
  return *reinterpret_cast<const float4*>(emulated::engine->generic(remote, 16));
}

inline void st_shared_cluster(unsigned remote, float x) {
  *reinterpret_cast<float*>(emulated::engine->generic(remote, 4)) = x;
}
inline void st_shared_cluster_v2(unsigned remote, float x, float y) {
  *reinterpret_cast<float2*>(emulated::engine->generic(remote, 8)) = make_float2(x, y);
}

}  // namespace fovea
