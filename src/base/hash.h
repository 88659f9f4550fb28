// SPDX-License-Identifier: Apache-2.0
// Hash of small plain values for in-memory tables (FNV-1a, 64 bits). Not for content addressing: that is sha256.h.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace fovea {

class Hasher {
 public:
  /// Not for structs: they have padding. Add their fields.
  template <typename T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) Hasher& add(const T& value) {
    return bytes(&value, sizeof value);
  }
  Hasher& add(std::string_view text) { return bytes(text.data(), text.size()).add(text.size()); }
  std::uint64_t value() const { return state_; }

 private:
  Hasher& bytes(const void* data, std::size_t n) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < n; ++i) state_ = (state_ ^ p[i]) * 0x100000001b3ull;
    return *this;
  }
  std::uint64_t state_ = 0xcbf29ce484222325ull;
};

}  // namespace fovea
