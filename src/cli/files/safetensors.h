// SPDX-License-Identifier: Apache-2.0
// Safetensors files: eight bytes of header length, a JSON header, then the tensors' bytes without gaps.
// Source: github.com/huggingface/safetensors, "Format". What that page forbids is refused here: duplicate keys, gaps,
// overlaps, trailing bytes, headers of more than 100 MB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/files/file_array.h"

namespace fovea::cli {

class AtomicFile;

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "F32", "BF16" …
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // into SafetensorsFile::data
  std::uint64_t end = 0;
};

/// A checked file: every entry lies inside data, and the size of each known dtype agrees with its shape.
struct SafetensorsFile {
  std::string name;
  std::vector<SafetensorsEntry> entries;  // in the order of their bytes
  std::span<const std::byte> data;
  std::shared_ptr<const MappedFile> file;
};

/// The file is read in place. Throws kInvalidArgument naming the file.
SafetensorsFile read_safetensors(const std::string& path);

/// The same from memory that the caller keeps.
SafetensorsFile parse_safetensors(std::span<const std::byte> file, const std::string& name);

/// Throws kInvalidArgument listing the names that are there.
FileArray find_tensor(const SafetensorsFile& file, std::string_view name);

struct NamedTensor {
  std::string name;
  TensorView view;  // contiguous
};

/// Header and tensors, in the order given; the header is padded so that the data starts at a multiple of 64 bytes.
void write_safetensors(AtomicFile& out, std::span<const NamedTensor> tensors);

}  // namespace fovea::cli
