// SPDX-License-Identifier: Apache-2.0
#include "cli/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "cli/files/file_descriptor.h"

namespace fovea::cli {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  return "something else";
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  constexpr auto kBad = ErrorCode::kInvalidArgument;
  // O_NONBLOCK: opening a pipe without a writer must fail below, not wait. It changes nothing for regular files.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  check(file.is_open(), kBad, path, "{}: cannot be opened: {}; check the path and its permissions", path,
        std::strerror(errno));
  struct stat status = {};
  check(::fstat(file.get(), &status) == 0, kBad, path, "{}: cannot be read: {}", path, std::strerror(errno));
  check(S_ISREG(status.st_mode), kBad, path,
        "{}: is {}, must be a regular file (it is read in place); save the data to a file first", path,
        kind_of(status.st_mode));
  if (status.st_size == 0) return;  // an empty mapping does not exist
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  check(address != MAP_FAILED, kBad, path, "{}: {} bytes cannot be mapped: {}", path, size, std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace fovea::cli
