// SPDX-License-Identifier: Apache-2.0
#include "tests/support/host_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/math.h"
#include "contract/dtype.h"
#include "problem/tensor_checks.h"

namespace fovea::testing {

void allocate(HostTensor& t, std::byte fill) {
  const auto extent = static_cast<std::size_t>(extent_bytes(t.view));
  t.bytes.assign(extent + 2 * kGuardBytes + t.shift, kGuard);
  t.offset = kGuardBytes + t.shift;
  std::fill_n(t.bytes.begin() + static_cast<std::ptrdiff_t>(t.offset), extent, fill);
  t.view.data = t.bytes.data() + t.offset;
}

void store(HostTensor& t, std::int64_t index, double value) {
  std::byte* p = t.bytes.data() + t.offset + index * size_bytes(t.view.dtype);
  const auto single = static_cast<float>(value);
  if (t.view.dtype == DType::kF32) {
    std::memcpy(p, &single, 4);
  } else if (t.view.dtype == DType::kE4M3) {
    *p = std::byte{float_to_e4m3(single)};
  } else {
    const std::uint16_t bits = t.view.dtype == DType::kF16 ? float_to_fp16(single) : float_to_bf16(single);
    std::memcpy(p, &bits, 2);
  }
}

std::string check_gaps(const HostTensor& t, const char* name) {
  std::vector<bool> owned(t.bytes.size(), false);
  const auto element = static_cast<std::size_t>(size_bytes(t.view.dtype));
  std::vector<std::int64_t> index(static_cast<std::size_t>(t.view.ndim), 0);
  const bool empty = extent_bytes(t.view) == 0;
  for (bool more = !empty; more;) {
    std::int64_t at = 0;
    for (int d = 0; d < t.view.ndim; ++d) at += index[static_cast<std::size_t>(d)] * t.view.strides[d];
    std::fill_n(owned.begin() + static_cast<std::ptrdiff_t>(t.offset + static_cast<std::size_t>(at) * element), element,
                true);
    more = false;
    for (int d = t.view.ndim - 1; d >= 0 && !more; --d) {
      auto& i = index[static_cast<std::size_t>(d)];
      if (++i < t.view.shape[d])
        more = true;
      else
        i = 0;
    }
  }
  for (std::size_t i = 0; i < t.bytes.size(); ++i) {
    const bool inside = i >= t.offset && i < t.bytes.size() - kGuardBytes;
    if (!owned[i] && t.bytes[i] != (inside ? kPattern : kGuard)) {
      return fmt::format("{}: byte {} outside the tensor's elements was overwritten\n", name,
                         static_cast<std::int64_t>(i) - static_cast<std::int64_t>(t.offset));
    }
  }
  return "";
}

void reset(HostTensor& t) {
  std::fill(t.bytes.begin() + static_cast<std::ptrdiff_t>(t.offset), t.bytes.end() - kGuardBytes, kPattern);
}

}  // namespace fovea::testing
