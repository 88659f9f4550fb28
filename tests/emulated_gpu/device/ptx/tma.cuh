// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/tma.cuh.
#pragma once

#include "contract/tensor_maps.h"

namespace fovea {

inline void prefetch_tensormap(const TensorMap&) {}

struct BoxPlace {
  int x, y, z, u, v;
};

inline void cp_async_bulk_tensor_4d(unsigned shared, const TensorMap& map, unsigned barrier, const BoxPlace& at) {
  emulated::engine->tensor_load({&map, 4, {at.x, at.y, at.z, at.u, 0}, shared, barrier, 0});
}
inline void cp_async_bulk_tensor_5d(unsigned shared, const TensorMap& map, unsigned barrier, const BoxPlace& at) {
  emulated::engine->tensor_load({&map, 5, {at.x, at.y, at.z, at.u, at.v}, shared, barrier, 0});
}
inline void cp_async_bulk_tensor_5d_multicast(unsigned shared, const TensorMap& map, unsigned barrier,
                                              const BoxPlace& at, unsigned short blocks) {
  if (blocks == 0) emulated::engine->fail("a multicast to no block");
  emulated::engine->tensor_load({&map, 5, {at.x, at.y, at.z, at.u, at.v}, shared, barrier, blocks});
}
inline void cp_async_bulk_tensor_5d_store(const TensorMap& map, unsigned shared, const BoxPlace& at) {
  emulated::engine->tensor_store({&map, 5, {at.x, at.y, at.z, at.u, at.v}, shared, 0, 0});
}
inline void cp_async_bulk_commit_group() { emulated::engine->commit_stores(); }
template <int pending>
inline void cp_async_bulk_wait_group_read() {
  emulated::engine->wait_stores(pending);
}
inline void fence_proxy_async() {}

}  // namespace fovea
