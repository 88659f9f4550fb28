// SPDX-License-Identifier: Apache-2.0
// Loops that show what the processor can do with one instruction set: multiply-adds that never leave the registers, and
// plain reading. What kernels reach is told as a fraction of these, measured by the same threads just before.
#pragma once

#include "contract/host_device.h"

namespace fovea::cpu {

/// run(rounds) does rounds * flops_per_round floating-point operations (a multiply-add counts 2) in independent chains,
/// and returns a value that depends on all of them.
struct FlopLoop {
  const char* instruction = nullptr;
  double flops_per_round = 0;
  float (*run)(Int64 rounds) = nullptr;
};

struct Peaks {
  const char* isa;
  FlopLoop f32;
  FlopLoop bf16;  // products of bf16 pairs; run is null where the unit has none
  /// Reads bytes (a multiple of 1024, 64-byte aligned) once, touching prefetch_bytes ahead (0: not at all); returns a
  /// value that depends on every vector of it.
  Int64 (*read)(const void* data, Int64 bytes, Int64 prefetch_bytes);
};

namespace baseline {
const Peaks& peaks();
}
#if defined(__x86_64__)
namespace avx2 {
const Peaks& peaks();
}
namespace avx512 {
const Peaks& peaks();
}
namespace avx512bf16 {
const Peaks& peaks();
}
namespace amx {
const Peaks& peaks();
}
#endif

}  // namespace fovea::cpu
