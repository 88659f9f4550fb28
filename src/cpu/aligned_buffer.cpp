// SPDX-License-Identifier: Apache-2.0
#include "cpu/aligned_buffer.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace fovea::cpu {
namespace {
// Half of what x86-64 and AArch64 let a process address. Asking malloc for more is an overflow somewhere.
constexpr std::size_t kAddressable = std::size_t{1} << 46;
}  // namespace

AlignedBuffer::AlignedBuffer(std::size_t bytes) {
  if (bytes == 0) return;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
  check(bytes <= kAddressable, ErrorCode::kInternal, "", "a buffer of {} bytes cannot exist", bytes);
  size_bytes_ =
      static_cast<std::size_t>(round_up(static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(alignment)));
  data_ = std::aligned_alloc(alignment, size_bytes_);
  check(data_ != nullptr, ErrorCode::kInternal, "", "out of memory: {} bytes for kernel scratch", size_bytes_);
#ifdef __linux__
  if (alignment == kHugePage) ::madvise(data_, size_bytes_, MADV_HUGEPAGE);  // a hint: failure costs speed only
#endif
}

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

AlignedBuffer& AlignedBuffer::operator=(AlignedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

void Scratch::grow(std::size_t bytes) {
  buffer_ = AlignedBuffer();  // frees the old block (in the moved-from temporary) before asking for the new one
  buffer_ = AlignedBuffer(bytes);
}

}  // namespace fovea::cpu
