// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/cp_async.cuh.
#pragma once

namespace fovea {

inline void cp_async_cg_16(unsigned shared, const void* global) {
  emulated::engine->copy_async(shared, global, 16, 16);
}
inline void cp_async_cg_16(unsigned shared, const void* global, int source_bytes) {
  emulated::engine->copy_async(shared, global, 16, source_bytes);
}
inline void cp_async_ca_8(unsigned shared, const void* global, int source_bytes) {
  emulated::engine->copy_async(shared, global, 8, source_bytes);
}
inline void cp_async_ca_4(unsigned shared, const void* global, int source_bytes) {
  emulated::engine->copy_async(shared, global, 4, source_bytes);
}
inline void cp_async_commit_group() { emulated::engine->commit_copies(); }
template <int pending>
inline void cp_async_wait_group() {
  emulated::engine->wait_copies(pending);
}

}  // namespace fovea
