// SPDX-License-Identifier: Apache-2.0
// From a unit to machine code: memory, then kernels compiled ahead, then the disk cache, then NVRTC. Nothing is opened
// before it is needed; a hit on disk does not load NVRTC. Safe to call from many threads: one compiles, the others
// wait.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/settings.h"
#include "jit/cache.h"
#include "jit/nvrtc.h"
#include "jit/resources.h"
#include "jit/texts.h"
#include "jit/unit.h"

namespace fovea::jit {

enum class Origin : unsigned char { kCompiled, kDisk, kPrebuilt };

struct CompiledKernel {
  std::string entry;
  std::string architecture;
  std::string config;  // of the unit
  std::vector<std::byte> cubin;
  Resources resources;
  std::string remarks;  // pipeline_remarks of the log, kept with the entry; empty in good code
  std::string nvrtc;    // the version that compiled it
  std::string key;
  Origin origin = Origin::kCompiled;
  double compile_ms = 0;  // 0 unless kCompiled
  std::string log;        // empty unless kCompiled
};

struct CompilerOptions {
  std::string kernel_dir;    // empty: the embedded texts
  std::string cache_dir;     // empty: no disk cache; entries lie in its folder kernels/
  std::string prebuilt_dir;  // empty: the folder fovea-kernels beside the library, if there is one
  NvrtcSearch nvrtc;
};

CompilerOptions compiler_options(const Settings& settings);

class Compiler {
 public:
  explicit Compiler(CompilerOptions options) : options_(std::move(options)) {}

  /// architecture: "sm_90a". Throws kCompile: NVRTC absent or older than the GPU (with the way out), or the compiler's
  /// log and the path of the kept kernel.cu.
  std::shared_ptr<const CompiledKernel> compile(const Unit& unit, const std::string& architecture);

  /// Every kernel so far, in no order.
  std::vector<std::shared_ptr<const CompiledKernel>> compiled() const;

  /// From now on each kernel is also stored in this folder, as a lower layer for machines without NVRTC
  /// (FOVEA_PREBUILT).
  void export_to(std::string folder) { export_ = DiskCache(std::move(folder)); }

  const Nvrtc& nvrtc();
  const Texts& texts();
  /// The folder with the entries; empty if there is no disk cache.
  std::string cache_folder() const;
  std::string prebuilt_folder() const;

 private:
  using Result = std::shared_future<std::shared_ptr<const CompiledKernel>>;
  struct Request;
  std::shared_ptr<const CompiledKernel> find_or_compile(const Request& request);
  std::shared_ptr<CompiledKernel> run_nvrtc(const Request& request);
  std::string nvrtc_version();

  CompilerOptions options_;
  DiskCache export_;
  std::once_flag nvrtc_opened_, texts_loaded_;
  Nvrtc nvrtc_;
  Texts texts_;
  mutable std::mutex mutex_;
  std::map<std::string, Result> results_;  // by key without the compiler's version
};

}  // namespace fovea::jit
