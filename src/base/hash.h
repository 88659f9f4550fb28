// SPDX-License-Identifier: Apache-2.0
// Hash of small plain values for in-memory tables, 64 bits. Not for content addressing: that is sha256.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace fovea {

class Hasher {
 public:
  /// Not for structs: they have padding. Add their fields.
  template <typename T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) Hasher& add(const T& value) {
    static_assert(sizeof value <= sizeof(std::uint64_t));
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    return mix(word);
  }
  Hasher& add(std::string_view text) { return bytes(text.data(), text.size()).add(text.size()); }
  std::uint64_t value() const { return state_; }

 private:
  Hasher& bytes(const char* data, std::size_t n) {
    for (; n >= 8; data += 8, n -= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, data, 8);
      mix(word);
    }
    std::uint64_t word = 0;
    std::memcpy(&word, data, n);
    return mix(word);
  }
  /// One multiplication per value: a key of thirty fields is hashed in every call.
  Hasher& mix(std::uint64_t word) {
    state_ = (state_ ^ word) * 0x9e3779b97f4a7c15ull;
    state_ ^= state_ >> 32;
    return *this;
  }
  std::uint64_t state_ = 0xcbf29ce484222325ull;
};

}  // namespace fovea
