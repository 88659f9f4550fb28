// SPDX-License-Identifier: Apache-2.0
#include "cuda/device_clock.h"

namespace fovea::cuda {
namespace {

constexpr std::size_t kBusyBytes = std::size_t{32} << 20;
constexpr double kBusyUs = 8;  // that clearing them takes at least (H200)
constexpr unsigned kDefaultEvent = 0;

}  // namespace

DeviceClock::DeviceClock(const DeviceContext& device) : device_(device), busy_(device, kBusyBytes) {
  const ScopedContext scope(device_);
  const Driver& driver = *device_.driver;
  driver.check(driver.api.cuEventCreate(&begin_, kDefaultEvent), "cuEventCreate");
  driver.check(driver.api.cuEventCreate(&end_, kDefaultEvent), "cuEventCreate");
}

DeviceClock::~DeviceClock() {
  const ScopedContext scope(device_);
  if (begin_) device_.driver->api.cuEventDestroy(begin_);
  if (end_) device_.driver->api.cuEventDestroy(end_);
}

double DeviceClock::seconds(double most_host_us, const std::function<void()>& enqueue) {
  const ScopedContext scope(device_);
  const Driver& driver = *device_.driver;
  for (double us = 0; us < most_host_us; us += kBusyUs) {
    driver.check(driver.api.cuMemsetD8Async(busy_.address(), 0, kBusyBytes, nullptr), "cuMemsetD8Async");
  }
  driver.check(driver.api.cuEventRecord(begin_, nullptr), "cuEventRecord");
  enqueue();
  driver.check(driver.api.cuEventRecord(end_, nullptr), "cuEventRecord");
  driver.check(driver.api.cuEventSynchronize(end_), "cuEventSynchronize");
  float ms = 0;
  driver.check(driver.api.cuEventElapsedTime(&ms, begin_, end_), "cuEventElapsedTime");
  return 1e-3 * static_cast<double>(ms);
}

}  // namespace fovea::cuda
