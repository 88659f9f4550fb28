// SPDX-License-Identifier: Apache-2.0
// What the file readers promise for any bytes: a sound array, or one fovea::Error. Broken promises abort.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "cli/files/npy.h"
#include "cli/files/safetensors.h"
#include "fovea/error.h"

namespace fovea::fuzz {

/// A sanitizer reports an address outside the file; this reports a wrong shape inside it.
inline void expect(bool promise) {
  if (!promise) std::abort();
}

inline void use_array(const cli::FileArray& array) {
  unsigned sum = 0;
  for (const std::byte b : array.bytes) sum += static_cast<unsigned>(b);
  for (const auto dtype : {std::optional<DType>(), std::optional(DType::kF32), std::optional(DType::kBF16)}) {
    try {
      const cli::HostTensor tensor = cli::load_tensor(array, dtype);
      const auto bytes = static_cast<std::size_t>(cli::tensor_bytes(tensor.view));
      std::string copy(bytes, '\0');
      if (bytes > 0) std::memcpy(copy.data(), tensor.view.data, bytes);
      sum += static_cast<unsigned char>(copy.empty() ? 0 : copy.back());
    } catch (const Error& error) {
      expect(*error.what() != '\0');
    }
  }
  try {
    sum += static_cast<unsigned>(cli::load_lengths(array).view.shape[0]);
  } catch (const Error& error) {
    expect(*error.what() != '\0');
  }
  volatile unsigned used = sum;
  static_cast<void>(used);
}

inline void read_npy_bytes(std::span<const std::byte> bytes) {
  try {
    use_array(cli::parse_npy(bytes, "fuzz.npy"));
  } catch (const Error& error) {
    expect(*error.what() != '\0');
  }
}

inline void read_safetensors_bytes(std::span<const std::byte> bytes) {
  try {
    const cli::SafetensorsFile file = cli::parse_safetensors(bytes, "fuzz.safetensors");
    std::uint64_t filled = 0;
    for (const cli::SafetensorsEntry& entry : file.entries) {
      expect(entry.begin == filled && entry.end <= file.data.size());
      filled = entry.end;
      use_array(cli::find_tensor(file, entry.name));
    }
    expect(filled == file.data.size());
    cli::find_tensor(file, "no such tensor");
  } catch (const Error& error) {
    expect(*error.what() != '\0');
  }
}

}  // namespace fovea::fuzz
