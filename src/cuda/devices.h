// SPDX-License-Identifier: Apache-2.0
// The GPUs of this process: the driver, a description of each GPU and its primary context (the one that PyTorch and the
// CUDA runtime use too). Nothing is touched before the first question; contexts are retained when first used.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/device_info.h"
#include "cuda/driver.h"
#include "fovea/types.h"

namespace fovea::cuda {

/// One GPU that calls run on. Lives as long as Devices.
struct DeviceContext {
  const Driver* driver = nullptr;
  CUdevice handle = 0;
  int index = 0;
  CUcontext primary = nullptr;
  const DeviceInfo* info = nullptr;
};

/// Makes a context current for a scope and puts the caller's back. Costs one call when it is current already.
class ScopedContext {
 public:
  ScopedContext(const Driver& driver, CUcontext context);
  explicit ScopedContext(const DeviceContext& device) : ScopedContext(*device.driver, device.primary) {}
  ~ScopedContext();
  ScopedContext(const ScopedContext&) = delete;
  ScopedContext& operator=(const ScopedContext&) = delete;

 private:
  const Driver& driver_;
  bool pushed_ = false;
};

/// The context that work on this stream runs in: the device's primary one, or another one of the same device that the
/// stream was made in. Throws kInvalidArgument "stream" if the stream belongs to another device.
CUcontext context_of(const DeviceContext& device, Stream stream);

class Devices {
 public:
  explicit Devices(std::string library = "libcuda.so.1") : library_(std::move(library)) {}
  ~Devices();
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  const Driver& driver();
  int count() { return driver().num_devices; }
  /// Throws kUnsupported with the reason if there is no GPU, kInvalidArgument "device" for an index that is none.
  const DeviceInfo& info(int index);
  DeviceContext& context(int index);

 private:
  struct Slot {
    std::once_flag described, retained;
    DeviceInfo info;
    DeviceContext context;
  };
  Slot& slot(int index);

  std::string library_;
  std::once_flag loaded_;
  Driver driver_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

/// Asks the driver about one GPU. Needs no context.
DeviceInfo describe_device(const Driver& driver, int index);

}  // namespace fovea::cuda
