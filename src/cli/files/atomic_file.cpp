// SPDX-License-Identifier: Apache-2.0
#include "cli/files/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/check.h"

namespace fovea::cli {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;
constexpr auto kFailed = ErrorCode::kInternal;
constexpr mode_t kNewFileMode = 0666;  // less the umask, as for any new file

std::string temporary_name(const std::string& target) {
  static std::atomic<unsigned> counter{0};
  const auto slash = target.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : target.substr(0, slash + 1);
  return fmt::format("{}.fovea-{}-{}.partial", directory, ::getpid(), counter++);
}

std::string own_link(const FileDescriptor& file) { return fmt::format("/proc/self/fd/{}", file.get()); }

/// Where the last of a chain of symbolic links points; the path itself if it is none.
std::string behind_links(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_symlink(std::filesystem::symlink_status(path, error))) return path;
  const auto target = std::filesystem::weakly_canonical(path, error);
  check(!error, kBad, path, "{}: symbolic link cannot be followed: {}; remove it or name its target", path,
        error.message());
  return target.string();
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path, bool try_unnamed) : path_(path) {
  check(!path.empty(), kBad, path, "the output's path is empty; name a file");
  struct stat status = {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  check(exists || errno == ENOENT, kBad, path, "{}: cannot be created: {}; choose another name", path,
        std::strerror(errno));
  check(!exists || !S_ISDIR(status.st_mode), kBad, path, "{}: is a directory; name a file in it", path);
  if (exists && !S_ISREG(status.st_mode)) {
    file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    check(file_.is_open(), kBad, path, "{}: cannot be opened for writing: {}", path, std::strerror(errno));
    return;
  }
  check(!exists || ::access(path.c_str(), W_OK) == 0, kBad, path,
        "{}: exists and cannot be replaced: {}; remove it or take another name", path, std::strerror(errno));
  target_ = behind_links(path);
  const auto slash = target_.rfind('/');
  directory_ = slash == std::string::npos ? "." : target_.substr(0, slash + 1);
  check(slash + 1 != target_.size(), kBad, path, "{}: names a directory; name a file in it", path);
  open_temporary(try_unnamed);
  // Opening without a name needs no permission to add names to the directory, and the rename will.
  check(::access(directory_.c_str(), W_OK | X_OK) == 0, kBad, path,
        "{}: cannot be created: {}; choose another directory", path, std::strerror(errno));
  if (exists) ::fchmod(file_.get(), status.st_mode & 07777);
}

void AtomicFile::open_temporary(bool try_unnamed) {
  if (try_unnamed) file_ = FileDescriptor(::open(directory_.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kNewFileMode));
  // The file gets its name through /proc later; without /proc it could not.
  if (file_.is_open() && ::access(own_link(file_).c_str(), F_OK) != 0) file_.close();
  const bool has_no_unnamed = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT;
  if (!file_.is_open() && (!try_unnamed || has_no_unnamed)) {
    const std::string name = temporary_name(target_);
    file_ = FileDescriptor(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kNewFileMode));
    if (file_.is_open()) temporary_ = name;
  }
  check(file_.is_open(), kBad, path_, "{}: cannot be created: {}; choose another directory", path_,
        std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    constexpr std::size_t kMaxWrite = std::size_t{1} << 30;  // Linux writes at most 2 GiB less a page at once
    const ssize_t written = ::write(file_.get(), at, std::min(bytes, kMaxWrite));
    if (written < 0 && errno == EINTR) continue;
    check(written >= 0, kFailed, path_, "{}: writing failed: {}; {}", path_, std::strerror(errno),
          target_.empty() ? "the output is incomplete" : "nothing was put there");
    at += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::name_unnamed() {
  const std::string name = temporary_name(target_);
  check(::linkat(AT_FDCWD, own_link(file_).c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0, kFailed, path_,
        "{}: the finished output cannot be named: {}; nothing was put there", path_, std::strerror(errno));
  temporary_ = name;
}

void AtomicFile::commit() {
  if (target_.empty()) {
    check(file_.close(), kFailed, path_, "{}: writing failed: {}; the output is incomplete", path_,
          std::strerror(errno));
    return;
  }
  check(::fsync(file_.get()) == 0, kFailed, path_, "{}: writing to the disk failed: {}; nothing was put there", path_,
        std::strerror(errno));
  if (temporary_.empty()) name_unnamed();
  check(file_.close(), kFailed, path_, "{}: writing failed: {}; nothing was put there", path_, std::strerror(errno));
  check(std::rename(temporary_.c_str(), target_.c_str()) == 0, kFailed, path_,
        "{}: the finished output cannot be put in place: {}; nothing was put there", path_, std::strerror(errno));
  temporary_.clear();
  // The new name survives a power cut only once the directory is on the disk; that this can fail changes nothing now.
  const FileDescriptor directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.is_open()) ::fsync(directory.get());
}

}  // namespace fovea::cli
