// SPDX-License-Identifier: Apache-2.0
// The CUDA driver, found at run time. Its absence is a value with a reason, not an error: a machine without a GPU pays
// one failed dlopen, once.
#pragma once

#include <string>
#include <string_view>

#include "cuda/driver_api.h"

namespace fovea::cuda {

/// CUDA 12.0: cuLibraryLoadData, cuTensorMapEncodeTiled and clusters are all there.
inline constexpr int kOldestDriver = 12000;

struct Driver {
  DriverApi api = {};
  int version = 0;  // 1000 * major + 10 * minor of the newest CUDA that the driver knows
  int num_devices = 0;
  std::string absence;  // why there is no usable GPU, with the way out; empty if there is one

  bool present() const { return absence.empty(); }

  /// Throws kCuda when result is not CUDA_SUCCESS, kUnsupported in a process forked after load_driver. subject is what
  /// the call was about ("attention_forward_sm80 on GPU 0").
  void check(CUresult result, const char* call, std::string_view subject = {}) const {
    if (result != CUDA_SUCCESS) [[unlikely]]
      raise(result, call, subject);
  }
  [[noreturn]] void raise(CUresult result, const char* call, std::string_view subject) const;
  /// "CUDA_ERROR_ILLEGAL_ADDRESS (700, an illegal memory access was encountered)"
  std::string describe(CUresult result) const;
};

/// Opens the driver, resolves every entry point and initialises it. The library stays loaded until the process ends:
/// the driver does not survive being unloaded.
Driver load_driver(const char* library = "libcuda.so.1");

/// True for the results that poison a context: every later call in it fails with the same result.
bool is_sticky(CUresult result);

}  // namespace fovea::cuda
