// SPDX-License-Identifier: Apache-2.0
// Tensors of tests: memory with guards around it and between its rows, so that reading or writing where there is no
// element shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fovea/tensor.h"

namespace fovea::testing {

inline constexpr std::size_t kGuardBytes = 256;
inline constexpr auto kGuard = std::byte{0xff};    // NaN in every floating format
inline constexpr auto kPattern = std::byte{0xa5};  // what outputs hold before the call

/// As seed of a case: shapes alone are asked for, inputs hold no numbers in particular. Numbers take most of the time.
inline constexpr std::uint32_t kUnfilled = 0;

/// Bytes that a tensor view points into, with a guard of NaN (0xff bytes) before and after.
struct HostTensor {
  std::vector<std::byte> bytes;
  std::size_t offset = 0;  // of the view's first element in bytes
  std::size_t shift = 0;   // bytes of the guard before it beyond the usual ones: it begins at no aligned address
  TensorView view;         // view.data points into bytes
};

/// Memory for t.view, whose shape, strides and dtype (and t.shift) are set, filled with `fill`, between guards.
void allocate(HostTensor& t, std::byte fill);

/// value, rounded to the tensor's dtype, at element `index` from the view's first.
void store(HostTensor& t, std::int64_t index, double value);

/// Bytes that belong to no element of the view must still hold what allocate put there (fill kPattern). Empty if so.
std::string check_gaps(const HostTensor& t, const char* name);

/// Fills the memory between the guards with kPattern again.
void reset(HostTensor& t);

}  // namespace fovea::testing
