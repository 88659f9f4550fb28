// SPDX-License-Identifier: Apache-2.0
// Memory for kernels: aligned, owned, not initialised, so that the thread that uses it touches its pages first.
#pragma once

#include <cstddef>

namespace fovea::cpu {

/// At least `bytes` bytes. From kHugePage on the block is a multiple of 2 MiB, aligned to it, and offered to the kernel
/// as huge pages (a third more bandwidth on a 16 MiB set); below, it is aligned to a cache line. Throws kInternal when
/// the system has no memory.
class AlignedBuffer {
 public:
  static constexpr std::size_t kCacheLine = 64;
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t bytes);
  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  ~AlignedBuffer();

  void* data() const { return data_; }
  std::size_t size_bytes() const { return size_bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

/// A buffer that only grows. What it held is lost when it does.
class Scratch {
 public:
  /// Aligned as AlignedBuffer says; valid until the next call.
  void* reserve(std::size_t bytes) {
    if (bytes > buffer_.size_bytes()) grow(bytes);
    return buffer_.data();
  }

 private:
  void grow(std::size_t bytes);
  AlignedBuffer buffer_;
};

}  // namespace fovea::cpu
