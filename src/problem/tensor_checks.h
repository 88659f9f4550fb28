// SPDX-License-Identifier: Apache-2.0
// Checks that any tensor of any operation must pass, and what their messages need. All throw kInvalidArgument naming
// the tensor.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>

#include "fovea/tensor.h"

namespace fovea {

/// A tensor by the name that messages call it.
struct Named {
  const char* name;
  const TensorView* tensor;
};

/// A shape for a message, formatted only when the message is: every check of every call passes by here.
struct ShapeText {
  const TensorView& tensor;
};
inline ShapeText shape_text(const TensorView& tensor) { return {tensor}; }
std::string to_string(const ShapeText& text);  // "(4, 128)"

/// Number of bytes from the first to past the last element that the view touches; 0 for an empty view. Strides must be
/// non-negative and the extent must fit (check_extent has checked both).
std::int64_t extent_bytes(const TensorView& tensor);

/// tensor and the named one that it goes with are on one device.
void check_device(const Named& tensor, const Named& with);

/// Shape and strides describe memory that can exist: no negative number, no overflow in bytes.
void check_extent(const Named& tensor);

/// Aligned to its elements; not null unless it has none or data is not required.
void check_data(const Named& tensor, bool require_data);

/// No two elements of out at one address, and no overlap with the other tensors. Interleaved views of one buffer
/// overlap as ranges and are refused too, since telling them apart would need the full index sets.
void check_output(const Named& out, std::span<const Named> others);

/// value as an int; it must lie from 0 to limit.
int checked_int(std::int64_t value, std::int64_t limit, const char* field);

}  // namespace fovea

template <>
struct fmt::formatter<fovea::ShapeText> : fmt::formatter<std::string> {
  auto format(const fovea::ShapeText& text, fmt::format_context& context) const {
    return fmt::formatter<std::string>::format(to_string(text), context);
  }
};
