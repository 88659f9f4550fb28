// SPDX-License-Identifier: Apache-2.0
// NVRTC, found at run time: from a toolkit or from the Python wheel nvidia-cuda-nvrtc. Its absence is a value with a
// reason. Compiles texts in memory; no file and no include folder takes part.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::jit {

/// Where to look, in this order: library (if given, nothing else), the loader's path, cuda_home, /usr/local/cuda*, and
/// the wheel in the site-packages of each folder in python_prefixes.
struct NvrtcSearch {
  std::string library;
  std::string cuda_home;
  std::vector<std::string> python_prefixes;
};

struct CompileInput {
  std::string source;
  std::string file_name;                                               // shown in messages
  std::vector<std::pair<std::string_view, std::string_view>> headers;  // include path, text
  std::vector<std::string> options;
};

struct CompileOutput {
  bool ok = false;
  std::vector<std::byte> cubin;
  std::string log;
};

class Nvrtc {
 public:
  /// Never throws: what went wrong is in absence().
  static Nvrtc open(const NvrtcSearch& search);

  bool present() const { return absence_.empty(); }
  /// Why NVRTC cannot be used, with the places looked at and the way out.
  const std::string& absence() const { return absence_; }
  int major() const { return major_; }
  int minor() const { return minor_; }
  std::string version() const { return std::to_string(major_) + "." + std::to_string(minor_); }
  /// The file it was loaded from.
  const std::string& library() const { return library_; }

  /// True if it can compile for this architecture ("sm_100a").
  bool supports(std::string_view architecture) const;
  /// "75, 80, … 121"
  std::string supported_architectures() const;

  CompileOutput compile(const CompileInput& input) const;

  struct Api;

 private:
  std::string absence_;
  std::string library_;
  std::shared_ptr<const Api> api_;
  int major_ = 0;
  int minor_ = 0;
  std::vector<int> architectures_;
};

/// Python environments to look into: virtual_env (may be empty), those whose python3 is on path, /usr and /usr/local.
/// Nothing is run.
std::vector<std::string> python_prefixes(const std::string& virtual_env, const std::string& path);

/// The files that open() would try, best first; names without a slash are looked up by the loader.
std::vector<std::string> nvrtc_candidates(const NvrtcSearch& search);

}  // namespace fovea::jit
