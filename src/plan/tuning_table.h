// SPDX-License-Identifier: Apache-2.0
// What a search (fovea tune) found to be fastest, by operation, device and shape bucket: one JSON file that later
// processes read. It names a card and one of its candidates, so an entry that a newer library no longer offers is
// passed over.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/device_info.h"

namespace fovea {

/// A card's name and the numbers by which its candidate is known again ("block_m" -> 128).
struct TunedEntry {
  std::string kernel;
  std::map<std::string, int> tile;
  friend bool operator==(const TunedEntry&, const TunedEntry&) = default;
};

/// What a measurement holds for: the model of the device and, for a processor, instruction set and number of threads.
std::string tuning_key(const DeviceInfo& device);

class TuningTable {
 public:
  /// Empty: nothing is kept.
  explicit TuningTable(std::string path) : path_(std::move(path)) {}

  /// Reads the file at the first call. A file that is damaged counts as empty, with a line in the log.
  std::optional<TunedEntry> find(const std::string& operation, const std::string& device, const std::string& bucket);

  /// Puts the entry into what the file holds now (others may have written it meanwhile) and replaces the file. Throws
  /// kInternal naming the path if that fails.
  void store(const std::string& operation, const std::string& device, const std::string& bucket, TunedEntry entry);

  const std::string& path() const { return path_; }

 private:
  using Entries = std::map<std::string, TunedEntry>;
  Entries read() const;
  void write(const Entries& entries) const;

  std::string path_;
  std::mutex mutex_;
  bool is_read_ = false;
  Entries entries_;
};

}  // namespace fovea
