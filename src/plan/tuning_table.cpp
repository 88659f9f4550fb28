// SPDX-License-Identifier: Apache-2.0
#include "plan/tuning_table.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/check.h"
#include "base/log.h"

namespace fovea {
namespace {

constexpr int kFormat = 1;

std::string key_of(const std::string& operation, const std::string& device, const std::string& bucket) {
  return operation + " | " + device + " | " + bucket;
}

/// Held while a file is read, changed and replaced, so that two processes do not undo each other's entries.
class FileLock {
 public:
  explicit FileLock(const std::string& path) : file_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
    check(file_ >= 0 && ::flock(file_, LOCK_EX) == 0, ErrorCode::kInternal, path, "{}: cannot be locked: {}", path,
          std::strerror(errno));
  }
  ~FileLock() { ::close(file_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_;
};

}  // namespace

std::string tuning_key(const DeviceInfo& device) {
  if (device.device.kind == DeviceKind::kCUDA) return fmt::format("{} {}", device.name, device.architecture);
  return fmt::format("{} {} {} threads", device.name, device.isa, device.num_threads);
}

std::optional<TunedEntry> TuningTable::find(const std::string& operation, const std::string& device,
                                            const std::string& bucket) {
  const std::lock_guard lock(mutex_);
  if (!is_read_) {
    entries_ = read();
    is_read_ = true;
  }
  const auto it = entries_.find(key_of(operation, device, bucket));
  if (it == entries_.end()) return std::nullopt;
  return it->second;
}

void TuningTable::store(const std::string& operation, const std::string& device, const std::string& bucket,
                        TunedEntry entry) {
  const std::lock_guard lock(mutex_);
  check(!path_.empty(), ErrorCode::kInternal, "cache_dir",
        "there is no cache directory for the tuning table; set FOVEA_CACHE_DIR");
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  const FileLock file_lock(path_ + ".lock");
  entries_ = read();
  is_read_ = true;
  entries_[key_of(operation, device, bucket)] = std::move(entry);
  write(entries_);
}

TuningTable::Entries TuningTable::read() const {
  Entries entries;
  std::ifstream file(path_);
  if (path_.empty() || !file) return entries;
  try {
    const nlohmann::json document = nlohmann::json::parse(file);
    if (document.at("format") != kFormat) return entries;
    for (const auto& [key, value] : document.at("entries").items()) {
      entries[key] = {value.at("kernel").get<std::string>(), value.at("tile").get<std::map<std::string, int>>()};
    }
  } catch (const nlohmann::json::exception& fault) {
    log(LogLevel::kWarn, "{}: not a tuning table ({}); it is not used", path_, fault.what());
    return {};
  }
  return entries;
}

void TuningTable::write(const Entries& entries) const {
  nlohmann::json rows = nlohmann::json::object();
  for (const auto& [key, entry] : entries) rows[key] = {{"kernel", entry.kernel}, {"tile", entry.tile}};
  const std::string partial = fmt::format("{}.{}.partial", path_, ::getpid());
  std::ofstream file(partial, std::ios::trunc);
  file << nlohmann::json{{"format", kFormat}, {"entries", rows}}.dump(1) << '\n';
  file.close();
  const bool replaced = file.good() && std::rename(partial.c_str(), path_.c_str()) == 0;
  const int reason = errno;
  if (!replaced) ::unlink(partial.c_str());
  check(replaced, ErrorCode::kInternal, path_, "{}: the tuning table cannot be written: {}", path_,
        std::strerror(reason));
}

}  // namespace fovea
