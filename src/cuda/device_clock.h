// SPDX-License-Identifier: Apache-2.0
// Time on the GPU: two events around work on the default stream.
#pragma once

#include <functional>

#include "cuda/devices.h"
#include "cuda/memory.h"

namespace fovea::cuda {

class DeviceClock {
 public:
  explicit DeviceClock(const DeviceContext& device);
  ~DeviceClock();
  DeviceClock(const DeviceClock&) = delete;
  DeviceClock& operator=(const DeviceClock&) = delete;

  /// Seconds that the GPU takes for what `enqueue` puts on the default stream in at most most_host_us. The GPU is kept
  /// busy until all of it is enqueued, so that the host's time is not measured. Returns when the work is done.
  double seconds(double most_host_us, const std::function<void()>& enqueue);

 private:
  DeviceContext device_;
  DeviceBuffer busy_;  // cleared while the host enqueues
  CUevent begin_ = nullptr, end_ = nullptr;
};

}  // namespace fovea::cuda
