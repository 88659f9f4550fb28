// SPDX-License-Identifier: Apache-2.0
#include "reference/element.h"

#include <cstdint>
#include <limits>

#include "base/math.h"

namespace fovea {

double load_element(const void* data, DType dtype, long long index) {
  switch (dtype) {
    case DType::kF32: return static_cast<const float*>(data)[index];
    case DType::kF16: return fp16_to_float(static_cast<const std::uint16_t*>(data)[index]);
    case DType::kBF16: return bf16_to_float(static_cast<const std::uint16_t*>(data)[index]);
    case DType::kE4M3: return e4m3_to_float(static_cast<const std::uint8_t*>(data)[index]);
    case DType::kI32: return static_cast<const std::int32_t*>(data)[index];
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double round_to(DType dtype, double value) {
  const auto single = static_cast<float>(value);
  switch (dtype) {
    case DType::kF16: return fp16_to_float(float_to_fp16(single));
    case DType::kBF16: return bf16_to_float(float_to_bf16(single));
    default: return single;
  }
}

}  // namespace fovea
