// SPDX-License-Identifier: Apache-2.0
#include "jit/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/log.h"
#include "jit/cache_file.h"

namespace fovea::jit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSuffix = ".kernel";
constexpr const char* kUnfinished = ".unfinished-";  // prefix of files being written
constexpr double kDay = 86400;
constexpr double kAbandoned = 3600;  // no write takes an hour
constexpr std::int64_t kLargest = std::int64_t{256} << 20;

class File {
 public:
  File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool ok() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  bool close() {
    const bool closed = fd_ < 0 || ::close(fd_) == 0;
    fd_ = -1;
    return closed;
  }

 private:
  int fd_;
};

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

std::optional<std::vector<std::byte>> read_all(const std::string& path) {
  const File file(path, O_RDONLY);
  struct stat info = {};
  if (!file.ok() || ::fstat(file.fd(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > kLargest)
    return std::nullopt;
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.fd(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // cut while we read: the checksum will tell
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

double age_of(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return 0;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count() - static_cast<double>(info.st_mtime);
}

/// Marks the entry as used, at most once a day: pruning by age needs no more, and shared file systems dislike writes.
void touch(const std::string& path) {
  if (age_of(path) > kDay) ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
}

std::string unfinished_name(const std::string& folder, const std::string& key) {
  static std::atomic<unsigned> counter{0};
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  // Process ids repeat between machines that share the folder; the host name, the clock and O_EXCL settle that.
  char host[65] = {};
  ::gethostname(host, sizeof host - 1);
  return fmt::format("{}/{}{}-{}-{}-{}-{}", folder, kUnfinished, key.substr(0, 16), host, ::getpid(), now, counter++);
}

bool write_aside_and_rename(const std::string& folder, const std::string& key, std::span<const std::byte> bytes) {
  const std::string unfinished = unfinished_name(folder, key);
  File file(unfinished, O_WRONLY | O_CREAT | O_EXCL);
  if (!file.ok()) return false;
  const bool written = write_all(file.fd(), bytes) && ::fsync(file.fd()) == 0;
  const bool renamed =
      file.close() && written && ::rename(unfinished.c_str(), (folder + "/" + key + kSuffix).c_str()) == 0;
  if (!renamed) {
    const int reason = errno;
    ::unlink(unfinished.c_str());
    errno = reason;
    return false;
  }
  const File directory(folder, O_RDONLY | O_DIRECTORY);
  if (directory.ok()) ::fsync(directory.fd());  // or the rename may be lost with the power; then it is a miss
  return true;
}

void remove_file(const std::string& path, std::int64_t bytes, PruneResult& result) {
  if (::unlink(path.c_str()) != 0) return;
  ++result.removed;
  result.removed_bytes += bytes;
}

void remove_unfinished(const std::string& folder, double older_than, PruneResult& result) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (!it->path().filename().string().starts_with(kUnfinished) || age_of(path) < older_than) continue;
    std::error_code gone;
    const auto bytes = fs::file_size(path, gone);
    remove_file(path, gone ? 0 : static_cast<std::int64_t>(bytes), result);
  }
}

}  // namespace

std::optional<CacheEntry> DiskCache::load(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  const std::string path = path_of(key);
  const auto bytes = read_all(path);
  if (!bytes) return std::nullopt;
  CacheEntry entry;
  if (const std::string fault = unpack_entry(*bytes, key, &entry); !fault.empty()) {
    const bool removed = !read_only_ && ::unlink(path.c_str()) == 0;
    log(LogLevel::kWarn, "cache entry {} is {}; {} compiled anew", path, fault,
        removed ? "removed, will be" : "ignored, will be");
    return std::nullopt;
  }
  if (!read_only_) touch(path);
  return entry;
}

bool DiskCache::store(const std::string& key, const Metadata& metadata, std::span<const std::byte> payload) const {
  if (folder_.empty() || read_only_) return false;
  std::error_code error;
  if (!fs::is_directory(folder_, error)) {
    fs::create_directories(folder_, error);
    if (!error)
      fs::permissions(folder_, fs::perms::owner_all, error);  // code is loaded from here: the owner alone writes
  }
  if (write_aside_and_rename(folder_, key, pack_entry(key, metadata, payload))) return true;
  log(LogLevel::kDebug, "cache folder {} does not take the entry ({}); the kernel is kept in memory only", folder_,
      std::strerror(errno));
  return false;
}

std::vector<CacheFile> list_cache(const std::string& folder) {
  std::vector<CacheFile> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != kSuffix) continue;
    CacheFile file;
    file.path = it->path().string();
    file.key = it->path().stem().string();
    file.age_seconds = age_of(file.path);
    CacheEntry entry;
    if (const auto bytes = read_all(file.path)) {
      file.bytes = static_cast<std::int64_t>(bytes->size());
      file.fault = unpack_entry(*bytes, file.key, &entry);
    } else {
      file.fault = "not readable";
    }
    file.metadata = std::move(entry.metadata);
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(), [](const CacheFile& a, const CacheFile& b) {
    return a.age_seconds != b.age_seconds ? a.age_seconds < b.age_seconds : a.key < b.key;
  });
  return files;
}

PruneResult prune_cache(const std::string& folder, const PruneLimits& limits) {
  PruneResult result;
  for (const CacheFile& file : list_cache(folder)) {  // newest first: the old ones meet a full budget
    const bool too_old = limits.max_age_seconds && file.age_seconds > *limits.max_age_seconds;
    const bool too_much = limits.max_bytes && result.kept_bytes + file.bytes > *limits.max_bytes;
    if (too_old || too_much || !file.fault.empty()) {
      remove_file(file.path, file.bytes, result);
    } else {
      ++result.kept;
      result.kept_bytes += file.bytes;
    }
  }
  remove_unfinished(folder, kAbandoned, result);
  return result;
}

PruneResult clear_cache(const std::string& folder) {
  PruneResult result;
  for (const CacheFile& file : list_cache(folder)) remove_file(file.path, file.bytes, result);
  remove_unfinished(folder, 0, result);
  return result;
}

}  // namespace fovea::jit
