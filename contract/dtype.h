// SPDX-License-Identifier: Apache-2.0
// What host and device must agree on about element types.
#pragma once

#include "contract/host_device.h"
#include "fovea/types.h"

namespace fovea {

HOST_DEVICE constexpr int size_bytes(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kI32 ? 4 : dtype == DType::kE4M3 ? 1 : 2;
}

HOST_DEVICE constexpr bool is_floating(DType dtype) { return dtype != DType::kI32; }

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "fp32";
    case DType::kF16: return "fp16";
    case DType::kBF16: return "bf16";
    case DType::kI32: return "int32";
    case DType::kE4M3: return "e4m3";
  }
  return "?";
}

constexpr const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::kNone: return "none";
    case Activation::kRelu: return "relu";
    case Activation::kGelu: return "gelu";
    case Activation::kSilu: return "silu";
  }
  return "?";
}

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kLn2 = 0.6931471805599453f;

}  // namespace fovea
