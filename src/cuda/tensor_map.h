// SPDX-License-Identifier: Apache-2.0
// Descriptors of the bulk tensor copy engine (TMA, sm_90 and newer): a strided array of up to five dimensions and the
// box of it that one copy moves. Passed to a kernel by value as const __grid_constant__.
#pragma once

#include <cstdint>

#include "cuda/driver.h"
#include "fovea/types.h"

namespace fovea::cuda {

using TensorMap = CUtensorMap;

enum class Swizzle : unsigned char { kNone, k32Bytes, k64Bytes, k128Bytes };
enum class L2Promotion : unsigned char { kNone, k64Bytes, k128Bytes, k256Bytes };

struct TensorMapShape {
  static constexpr int kMaxRank = 5;
  const void* data = nullptr;  // aligned to 16 bytes
  DType dtype = DType::kBF16;
  bool rounds_to_tf32 = false;  // what is copied from a kF32 tensor, to nearest, ties to even (seen on an H200)
  int rank = 0;
  std::int64_t extent[kMaxRank] = {};  // elements; dimension 0 is contiguous
  std::int64_t stride_bytes[kMaxRank] =
      {};                            // of dimensions 1 and up (entry 0 is not read); multiples of 16, below 2^40
  int box[kMaxRank] = {};            // elements per copy, 1 to 256 each
  Swizzle swizzle = Swizzle::kNone;  // box[0] must fit into its span
  L2Promotion l2_promotion = L2Promotion::k128Bytes;
};

/// Throws kInvalidArgument naming what the engine cannot address (check_tensor_map), kCuda if the driver refuses.
TensorMap encode_tensor_map(const Driver& driver, const TensorMapShape& shape);

/// The engine's rules, testable without a driver.
void check_tensor_map(const TensorMapShape& shape);

}  // namespace fovea::cuda
