// SPDX-License-Identifier: Apache-2.0
#include "jit/nvrtc_stamp.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/sha256.h"

namespace fovea::jit {
namespace {

/// What identifies a file without reading it; empty if it is not there.
std::string file_identity(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return fmt::format("{} {} {}.{:09}", info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

/// One stamp per way of searching: another CUDA_HOME or Python environment may find another library.
std::string stamp_path(const std::string& folder, const NvrtcSearch& search) {
  Sha256 hash;
  for (const std::string& candidate : nvrtc_candidates(search)) hash.add_field(candidate);
  return fmt::format("{}/nvrtc-{}.stamp", folder, to_hex(hash.digest()).substr(0, 16));
}

}  // namespace

std::optional<std::string> read_nvrtc_stamp(const std::string& folder, const NvrtcSearch& search) {
  if (folder.empty()) return std::nullopt;
  std::ifstream file(stamp_path(folder, search));
  std::string library, identity, version, end;
  if (!std::getline(file, library) || !std::getline(file, identity) || !std::getline(file, version) ||
      !std::getline(file, end)) {
    return std::nullopt;
  }
  if (end != "end" || identity.empty() || file_identity(library) != identity) return std::nullopt;
  return version;
}

void write_nvrtc_stamp(const std::string& folder, const NvrtcSearch& search, const Nvrtc& nvrtc) {
  const std::string identity = file_identity(nvrtc.library());
  std::error_code error;
  if (folder.empty() || identity.empty() || !std::filesystem::is_directory(folder, error)) return;
  const std::string path = stamp_path(folder, search);
  const std::string unfinished = fmt::format("{}.{}", path, ::getpid());
  std::ofstream(unfinished) << nvrtc.library() << '\n' << identity << '\n' << nvrtc.version() << "\nend\n";
  if (std::rename(unfinished.c_str(), path.c_str()) != 0) std::remove(unfinished.c_str());
}

}  // namespace fovea::jit
