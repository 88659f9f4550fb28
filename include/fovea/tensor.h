// SPDX-License-Identifier: Apache-2.0
// A view of memory that somebody else owns.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "fovea/types.h"

namespace fovea {

/// Pointer, element type, device, shape and strides; owns nothing. Strides count elements, not bytes. data may be null
/// when the view has no elements. A default-made view (ndim = 0, data = null) means "absent".
struct TensorView {
  static constexpr int kMaxDims = 5;

  void* data = nullptr;
  DType dtype = DType::kF32;
  Device device = {};
  int ndim = 0;
  std::int64_t shape[kMaxDims] = {};
  std::int64_t strides[kMaxDims] = {};

  bool present() const { return ndim != 0; }

  /// A contiguous (row-major) view of at most kMaxDims dimensions.
  static TensorView contiguous(void* data, DType dtype, std::initializer_list<std::int64_t> shape, Device device = {}) {
    TensorView view;
    view.data = data;
    view.dtype = dtype;
    view.device = device;
    for (std::int64_t extent : shape) {
      if (view.ndim < kMaxDims) view.shape[view.ndim++] = extent;
    }
    std::int64_t stride = 1;
    for (int d = view.ndim - 1; d >= 0; --d) {
      view.strides[d] = stride;
      stride *= view.shape[d] > 0 ? view.shape[d] : 1;
    }
    return view;
  }
};

}  // namespace fovea
