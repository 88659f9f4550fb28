// SPDX-License-Identifier: Apache-2.0
// Where NVRTC may lie: the loader's path, toolkits, and Python environments (the wheel puts it into site-packages).
#include <algorithm>
#include <filesystem>

#include "jit/nvrtc.h"

namespace fovea::jit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNames[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

void add_if_there(std::vector<std::string>& found, const fs::path& folder) {
  std::error_code error;
  for (const char* name : kNames) {
    if (fs::exists(folder / name, error)) {
      found.push_back((folder / name).string());
      return;  // the newest of a folder
    }
  }
}

/// Folders in `parent` whose name starts with `prefix`, last name first ("cuda-13.0" before "cuda-12.8").
std::vector<fs::path> folders(const fs::path& parent, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(prefix)) found.push_back(it->path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

void add_wheels(std::vector<std::string>& found, const fs::path& prefix) {
  for (const char* lib : {"lib", "lib64", "local/lib"}) {
    for (const fs::path& python : folders(prefix / lib, "python3")) {
      for (const char* packages : {"site-packages", "dist-packages"}) {
        add_if_there(found, python / packages / "nvidia/cu13/lib");
        add_if_there(found, python / packages / "nvidia/cuda_nvrtc/lib");
      }
    }
  }
}

void add_once(std::vector<std::string>& all, const fs::path& path) {
  if (!path.empty() && std::find(all.begin(), all.end(), path.string()) == all.end()) all.push_back(path.string());
}

}  // namespace

std::vector<std::string> python_prefixes(const std::string& virtual_env, const std::string& path) {
  std::vector<std::string> prefixes;
  add_once(prefixes, virtual_env);
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const fs::path python = fs::path(path.substr(begin, end - begin)) / "python3";
    std::error_code error;
    if (python.is_absolute() && fs::exists(python, error)) {
      add_once(prefixes, python.parent_path().parent_path());  // <prefix>/bin/python3, of a virtual environment
      add_once(prefixes, fs::canonical(python, error).parent_path().parent_path());  // and of what it was made from
    }
    begin = end + 1;
  }
  add_once(prefixes, "/usr");
  add_once(prefixes, "/usr/local");
  return prefixes;
}

std::vector<std::string> nvrtc_candidates(const NvrtcSearch& search) {
  if (!search.library.empty()) return {search.library};
  std::vector<std::string> found(std::begin(kNames), std::end(kNames));
  if (!search.cuda_home.empty()) {
    add_if_there(found, fs::path(search.cuda_home) / "lib64");
    add_if_there(found, fs::path(search.cuda_home) / "lib");
  }
  for (const fs::path& toolkit : folders("/usr/local", "cuda")) add_if_there(found, toolkit / "lib64");
  for (const std::string& prefix : search.python_prefixes) add_wheels(found, prefix);
  return found;
}

}  // namespace fovea::jit
