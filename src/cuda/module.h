// SPDX-License-Identifier: Apache-2.0
// A compiled kernel, loaded on one GPU. Loading makes the code resident and opts in to the dynamic shared memory, once,
// so that a launch does neither.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <tuple>

#include "cuda/devices.h"

namespace fovea::cuda {

struct Kernel {
  std::string name;
  DeviceContext device;
  CUlibrary library = nullptr;
  CUkernel kernel = nullptr;      // of any context of the device
  CUfunction function = nullptr;  // of the primary context: saves the driver a look-up per launch
  int registers_per_thread = 0;
  int static_shared_bytes = 0;
  int dynamic_shared_bytes = 0;  // the most that a launch may ask for
  int local_bytes = 0;           // per thread: stack and spills
  int max_threads_per_block = 0;

  Kernel() = default;
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
};

/// entry is the extern "C" name in the cubin. Throws kUnsupported if the GPU has less shared memory than asked for,
/// kCuda if the driver refuses the code. Legal while a stream of this thread is being captured.
std::shared_ptr<const Kernel> load_kernel(const DeviceContext& device, std::span<const std::byte> cubin,
                                          const std::string& entry, int dynamic_shared_bytes = 0);

/// What is loaded now. Plans for other sizes often have the same code: a second load would take the driver half a
/// millisecond and the device another copy.
class KernelTable {
 public:
  /// As load_kernel, unless code of that key is loaded. Safe to call from many threads.
  std::shared_ptr<const Kernel> find_or_load(const DeviceContext& device, const std::string& key,
                                             std::span<const std::byte> cubin, const std::string& entry,
                                             int dynamic_shared_bytes);

 private:
  std::mutex mutex_;
  // By device, key and shared memory. It goes with the last plan that holds it.
  std::map<std::tuple<int, std::string, int>, std::weak_ptr<const Kernel>> loaded_;
};

}  // namespace fovea::cuda
