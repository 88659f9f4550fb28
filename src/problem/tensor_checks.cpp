// SPDX-License-Identifier: Apache-2.0
#include "problem/tensor_checks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/math.h"
#include "contract/dtype.h"

namespace fovea {
namespace {

constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;

}  // namespace

std::string to_string(const ShapeText& text) {
  const TensorView& t = text.tensor;
  const std::span shape(t.shape, static_cast<std::size_t>(std::clamp(t.ndim, 0, TensorView::kMaxDims)));
  return fmt::format("({})", fmt::join(shape, ", "));
}

void check_device(const Named& tensor, const Named& with) {
  const Device& own = tensor.tensor->device;
  const Device& wanted = with.tensor->device;
  if (own == wanted) [[likely]]
    return;
  const auto text = [](const Device& d) {
    return d.kind == DeviceKind::kCPU ? std::string("cpu") : fmt::format("cuda:{}", d.index);
  };
  fail(ErrorCode::kInvalidArgument, tensor.name, "{} is on another device ({}) than {} ({}); move it there",
       tensor.name, text(own), with.name, text(wanted));
}

std::int64_t extent_bytes(const TensorView& t) {
  if (t.ndim == 0) return 0;
  std::int64_t last = 0;
  for (int d = 0; d < t.ndim; ++d) {
    if (t.shape[d] == 0) return 0;
    last += (t.shape[d] - 1) * t.strides[d];
  }
  return (last + 1) * size_bytes(t.dtype);
}

void check_extent(const Named& n) {
  const TensorView& t = *n.tensor;
  check(t.ndim >= 1 && t.ndim <= TensorView::kMaxDims, kBad, n.name, "{} has {} dimensions, must have 1 to {}", n.name,
        t.ndim, TensorView::kMaxDims);
  std::int64_t last_element = 0;
  bool empty = false;
  for (int d = 0; d < t.ndim; ++d) {
    check(t.shape[d] >= 0, kBad, n.name, "{} has shape {}, sizes must not be negative", n.name, shape_text(t));
    check(t.strides[d] >= 0, kBad, n.name,
          "{} has a negative stride {} in dimension {}; make a contiguous copy of the tensor", n.name, t.strides[d], d);
    empty |= t.shape[d] == 0;
    const auto reach = checked_product({std::max<std::int64_t>(t.shape[d], 1) - 1, t.strides[d]});
    check(reach && !__builtin_add_overflow(last_element, *reach, &last_element) &&
              last_element < std::numeric_limits<std::int64_t>::max() / 8,
          kBad, n.name, "{} with shape {} reaches beyond 2^60 elements; its sizes or strides are wrong", n.name,
          shape_text(t));
  }
  if (!empty) {
    std::int64_t count = 1;
    for (int d = 0; d < t.ndim; ++d) {
      check(!__builtin_mul_overflow(count, t.shape[d], &count), kBad, n.name,
            "{} with shape {} has more than 2^63 elements; its sizes are wrong", n.name, shape_text(t));
    }
  }
}

void check_data(const Named& n, bool require_data) {
  const TensorView& t = *n.tensor;
  if (require_data && !t.data) {
    check(extent_bytes(t) == 0, kBad, n.name, "{} has null data but shape {}", n.name, shape_text(t));
  }
  const auto address = reinterpret_cast<std::uintptr_t>(t.data);
  check(address % static_cast<std::uintptr_t>(size_bytes(t.dtype)) == 0, kBad, n.name,
        "{} starts at an address that is no multiple of its {}-byte elements; copy it to aligned memory", n.name,
        size_bytes(t.dtype));
}

void check_output(const Named& out, std::span<const Named> others) {
  if (!out.tensor->present() || extent_bytes(*out.tensor) == 0) return;
  for (int d = 0; d < out.tensor->ndim; ++d) {
    check(out.tensor->shape[d] <= 1 || out.tensor->strides[d] > 0, kBad, out.name,
          "{} has stride 0 in dimension {}: rows would overwrite each other; allocate it whole", out.name, d);
  }
  if (!out.tensor->data) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(out.tensor->data);
  const auto end = begin + static_cast<std::uintptr_t>(extent_bytes(*out.tensor));
  for (const Named& other : others) {
    if (other.tensor == out.tensor || !other.tensor->present() || !other.tensor->data) continue;
    const auto other_begin = reinterpret_cast<std::uintptr_t>(other.tensor->data);
    const auto other_end = other_begin + static_cast<std::uintptr_t>(extent_bytes(*other.tensor));
    check(begin >= other_end || other_begin >= end, kBad, out.name,
          "{} overlaps {} in memory; outputs need memory of their own", out.name, other.name);
  }
}

int checked_int(std::int64_t value, std::int64_t limit, const char* field) {
  check(value >= 0 && value <= limit, kBad, field, "{} is {}, must be from 0 to {}", field, value, limit);
  return static_cast<int>(value);
}

}  // namespace fovea
