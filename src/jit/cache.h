// SPDX-License-Identifier: Apache-2.0
// Compiled kernels on disk: one file per entry, named by what it was made from. A file is magic, key, lengths,
// metadata, payload and a SHA-256 over all of that; it is written aside, synced and renamed, so a reader sees a whole
// entry or none. Whatever is wrong with a file makes it a miss. A folder that is absent, read-only, full or shared by
// many processes is normal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace fovea::jit {

/// Words about an entry, for people and programs: "entry", "architecture", "nvrtc", "registers" …
using Metadata = std::map<std::string, std::string>;

struct CacheEntry {
  Metadata metadata;
  std::vector<std::byte> payload;
};

class DiskCache {
 public:
  /// An empty folder name is a cache that holds nothing and keeps nothing.
  explicit DiskCache(std::string folder = {}, bool read_only = false)
      : folder_(std::move(folder)), read_only_(read_only) {}

  /// key: 64 hexadecimal digits. A damaged file is removed if the folder allows it, and is a miss.
  std::optional<CacheEntry> load(const std::string& key) const;
  /// False, with the reason in a debug line of the log, if the entry could not be kept. Never throws.
  bool store(const std::string& key, const Metadata& metadata, std::span<const std::byte> payload) const;

  const std::string& folder() const { return folder_; }
  std::string path_of(const std::string& key) const { return folder_ + "/" + key + ".kernel"; }

 private:
  std::string folder_;
  bool read_only_ = false;
};

struct CacheFile {
  std::string path;
  std::string key;
  Metadata metadata;
  std::int64_t bytes = 0;
  double age_seconds = 0;  // since it was last used, to a day
  std::string fault;       // why it will not be used; empty if it is whole
};

/// Every entry of the folder, checked, newest first. An absent folder has none.
std::vector<CacheFile> list_cache(const std::string& folder);

struct PruneLimits {
  std::optional<std::int64_t> max_bytes;  // the least recently used go first
  std::optional<double> max_age_seconds;
};

struct PruneResult {
  int removed = 0;
  std::int64_t removed_bytes = 0;
  int kept = 0;
  std::int64_t kept_bytes = 0;
};

/// Removes entries over the limits, damaged ones, and what killed writers left behind more than an hour ago.
PruneResult prune_cache(const std::string& folder, const PruneLimits& limits);

/// Removes every entry.
PruneResult clear_cache(const std::string& folder);

}  // namespace fovea::jit
