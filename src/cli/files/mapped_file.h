// SPDX-License-Identifier: Apache-2.0
// A regular file as read-only memory, so that large tensors are read in place instead of copied.
// If another program shortens the file meanwhile, reading past its new end raises SIGBUS: replace files by rename.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace fovea::cli {

class MappedFile {
 public:
  /// Throws kInvalidArgument naming the path: missing, unreadable, a directory, a pipe or a device.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace fovea::cli
