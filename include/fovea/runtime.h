// SPDX-License-Identifier: Apache-2.0
// The object that owns everything that lasts longer than a call: settings, threads, devices, compiled kernels, plans.
#pragma once

#include <memory>
#include <string>

#include "fovea/export.h"

namespace fovea {

/// What can be set; an empty string or 0 means: the environment variable named beside it, else the default.
struct RuntimeOptions {
  int num_threads = 0;     ///< FOVEA_NUM_THREADS, OMP_NUM_THREADS; default: the cores this process may use
  std::string cpu_isa;     ///< FOVEA_CPU_ISA: baseline, avx2, avx512, avx512bf16, amx; default: the best there is
  std::string cache_dir;   ///< FOVEA_CACHE_DIR; default $XDG_CACHE_HOME/fovea or ~/.cache/fovea
  std::string kernel_dir;  ///< FOVEA_KERNEL_DIR: a tree like this one to read kernels from; default: the embedded texts
};

class Runtime {
 public:
  FOVEA_API explicit Runtime(const RuntimeOptions& options = {});
  FOVEA_API ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Processor, caches, instruction sets, threads, settings, GPUs; json for programs.
  FOVEA_API std::string info(bool json = false);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// The runtime that calls without one use; made on first use, never destroyed before the process ends.
FOVEA_API Runtime& default_runtime();

/// "0.1.0"
FOVEA_API const char* version();

}  // namespace fovea
