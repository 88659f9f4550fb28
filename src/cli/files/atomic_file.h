// SPDX-License-Identifier: Apache-2.0
// An output file that appears under its name only when it is complete. Until commit the bytes lie in a file without a
// name (O_TMPFILE), so that even a killed process leaves nothing; file systems that have no such files get a hidden
// temporary beside the output, removed by the destructor.
#pragma once

#include <cstddef>
#include <string>

#include "cli/files/file_descriptor.h"

namespace fovea::cli {

class AtomicFile {
 public:
  /// Opens the temporary, so that a missing or read-only directory is known before the work starts. A symbolic link is
  /// followed. A device or a pipe (/dev/stdout) is written to directly. try_unnamed = false takes the hidden temporary
  /// at once. Throws kInvalidArgument naming the path.
  explicit AtomicFile(const std::string& path, bool try_unnamed = true);
  /// Without commit, nothing appears and an existing file stays as it was.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Throws kInternal naming the path: no space, quota, a broken disk.
  void write(const void* data, std::size_t bytes);

  /// Brings the bytes to the disk and puts the file in place of whatever had its name. An existing file's permissions
  /// are kept. Throws kInternal naming the path.
  void commit();

  const std::string& path() const { return path_; }

 private:
  void open_temporary(bool try_unnamed);
  void name_unnamed();

  std::string path_;       // as the user gave it: for messages
  std::string target_;     // behind symbolic links; empty for a device or a pipe
  std::string directory_;  // of target_
  std::string temporary_;  // name of the temporary; empty while it has none
  FileDescriptor file_;
};

}  // namespace fovea::cli
