// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) for content addresses and checksums of files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace fovea {

using Digest = std::array<unsigned char, 32>;

class Sha256 {
 public:
  Sha256& add(std::span<const std::byte> data);
  Sha256& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }
  /// The text with its length before it, so that neighbouring fields cannot run into each other.
  Sha256& add_field(std::string_view text);
  /// Ends the computation; the object is spent.
  Digest digest();

 private:
  void block(const unsigned char* data);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> pending_ = {};
  std::uint64_t length_ = 0;
};

/// 64 lower-case hexadecimal digits.
std::string to_hex(const Digest& digest);

}  // namespace fovea
