// SPDX-License-Identifier: Apache-2.0
// The environment variables that Fovea reads, all of them, in one place: the only getenv of the tree is settings.cpp.
#pragma once

#include <string>

namespace fovea {

/// Values as given in the environment; empty or 0 where not set. `fovea info` prints them.
struct Settings {
  int num_threads = 0;        // FOVEA_NUM_THREADS, else OMP_NUM_THREADS (its first number)
  std::string cpu_isa;        // FOVEA_CPU_ISA
  std::string cache_dir;      // FOVEA_CACHE_DIR, else XDG_CACHE_HOME/fovea, else HOME/.cache/fovea
  std::string kernel_dir;     // FOVEA_KERNEL_DIR
  std::string nvrtc_library;  // FOVEA_NVRTC: path of libnvrtc.so, for unusual installations
  std::string cuda_home;      // CUDA_HOME, else CUDA_PATH: where NVRTC is looked for after the loader's path
  std::string prebuilt_dir;   // FOVEA_PREBUILT: kernels compiled ahead (fovea prebuild), looked up before compiling
  std::string virtual_env;    // VIRTUAL_ENV, else CONDA_PREFIX: NVRTC may lie in this Python environment
  std::string path;           // PATH: where python3 is, whose packages may hold NVRTC
  std::string log_level;      // FOVEA_LOG: error, warn (default), info, debug
  bool no_color = false;      // NO_COLOR is set and not empty
  std::string terminal;       // TERM

  // The variable that gave the value, where several may; empty: none of them.
  std::string num_threads_from;
  std::string cache_dir_from;
  std::string cuda_home_from;
};

/// Reads the environment anew. Throws kInvalidArgument for a number that is none.
Settings read_settings();

}  // namespace fovea
