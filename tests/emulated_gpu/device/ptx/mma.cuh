// SPDX-License-Identifier: Apache-2.0
// Stands for kernels/ptx/mma.cuh.
#pragma once

namespace fovea {

inline void mma_m16n8k16_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulated::MmaWords words = {c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  emulated::engine->meet(emulated::WarpWord::kMmaBf16K16, 0xffffffffu, &words);
}
inline void mma_m16n8k16_f16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulated::MmaWords words = {c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  emulated::engine->meet(emulated::WarpWord::kMmaF16K16, 0xffffffffu, &words);
}
inline void mma_m16n8k8_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulated::MmaWords words = {c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  emulated::engine->meet(emulated::WarpWord::kMmaTf32K8, 0xffffffffu, &words);
}
inline void mma_m16n8k32_e4m3(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulated::MmaWords words = {c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  emulated::engine->meet(emulated::WarpWord::kMmaE4m3K32, 0xffffffffu, &words);
}
inline void mma_m16n8k8_f16(float (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
  emulated::MmaWords words = {c, {a0, a1, 0, 0}, {b0, 0}};
  emulated::engine->meet(emulated::WarpWord::kMmaF16K8, 0xffffffffu, &words);
}

}  // namespace fovea
