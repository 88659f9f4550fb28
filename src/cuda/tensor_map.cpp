// SPDX-License-Identifier: Apache-2.0
#include "cuda/tensor_map.h"

#include "base/check.h"
#include "contract/dtype.h"

namespace fovea::cuda {
namespace {

int native_type(DType dtype, bool rounds_to_tf32) {
  if (rounds_to_tf32) return 11;
  switch (dtype) {                // CUtensorMapDataType
    case DType::kE4M3: return 0;  // as bytes
    case DType::kI32: return 3;
    case DType::kF16: return 6;
    case DType::kF32: return 7;
    case DType::kBF16: return 9;
  }
  return 0;
}

int span_bytes(Swizzle swizzle) { return swizzle == Swizzle::kNone ? 256 * 16 : 16 << static_cast<int>(swizzle); }

}  // namespace

void check_tensor_map(const TensorMapShape& s) {
  const auto need = [](bool ok, const char* what, auto got, auto dimension) {
    check(ok, ErrorCode::kInvalidArgument, "tensor_map",
          "tensor map: {} (dimension {}, got {}); copy the tensor to a plain layout", what, dimension, got);
  };
  need(s.rank >= 1 && s.rank <= TensorMapShape::kMaxRank, "rank must be 1 to 5", s.rank, 0);
  need(reinterpret_cast<std::uintptr_t>(s.data) % 16 == 0, "the address must be a multiple of 16",
       reinterpret_cast<std::uintptr_t>(s.data), 0);
  for (int d = 0; d < s.rank; ++d) {
    need(s.extent[d] >= 1 && s.extent[d] <= std::int64_t{1} << 32, "extent must be 1 to 2^32", s.extent[d], d);
    need(s.box[d] >= 1 && s.box[d] <= 256, "box must be 1 to 256", s.box[d], d);
    if (d == 0) continue;
    need(s.stride_bytes[d] >= 0 && s.stride_bytes[d] % 16 == 0 && s.stride_bytes[d] < std::int64_t{1} << 40,
         "stride must be a multiple of 16 bytes below 2^40", s.stride_bytes[d], d);
  }
  const int row_bytes = s.box[0] * size_bytes(s.dtype);
  need(!s.rounds_to_tf32 || s.dtype == DType::kF32, "only fp32 is rounded to TF32", name_of(s.dtype), 0);
  need(row_bytes % 16 == 0, "a row of the box must be a multiple of 16 bytes", row_bytes, 0);
  need(row_bytes <= span_bytes(s.swizzle), "a row of the box must fit into the swizzle's span", row_bytes, 0);
}

TensorMap encode_tensor_map(const Driver& driver, const TensorMapShape& shape) {
  check_tensor_map(shape);
  std::uint64_t extent[TensorMapShape::kMaxRank] = {};
  std::uint64_t stride[TensorMapShape::kMaxRank] = {};
  std::uint32_t box[TensorMapShape::kMaxRank] = {};
  std::uint32_t step[TensorMapShape::kMaxRank] = {};
  for (int d = 0; d < shape.rank; ++d) {
    extent[d] = static_cast<std::uint64_t>(shape.extent[d]);
    box[d] = static_cast<std::uint32_t>(shape.box[d]);
    step[d] = 1;
    if (d > 0) stride[d - 1] = static_cast<std::uint64_t>(shape.stride_bytes[d]);
  }
  TensorMap map = {};
  driver.check(driver.api.cuTensorMapEncodeTiled(&map, native_type(shape.dtype, shape.rounds_to_tf32),
                                                 static_cast<std::uint32_t>(shape.rank), const_cast<void*>(shape.data),
                                                 extent, stride, box, step,
                                                 /*interleave=*/0, static_cast<int>(shape.swizzle),
                                                 static_cast<int>(shape.l2_promotion), /*oob_fill=*/0),
               "cuTensorMapEncodeTiled");
  return map;
}

}  // namespace fovea::cuda
