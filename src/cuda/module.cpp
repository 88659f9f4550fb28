// SPDX-License-Identifier: Apache-2.0
#include "cuda/module.h"

#include "base/check.h"

namespace fovea::cuda {
namespace {

/// Loading allocates device memory, which a capture in global mode forbids unless the thread says that it knows.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(const Driver& driver) : driver_(driver) {
    driver_.api.cuThreadExchangeStreamCaptureMode(&mode_);
  }
  ~RelaxedCapture() { driver_.api.cuThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  const Driver& driver_;
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

void read_resources(Kernel& k, const std::string& subject) {
  const Driver& driver = *k.device.driver;
  const auto ask = [&](CUfunction_attribute attribute) {
    int value = 0;
    driver.check(driver.api.cuKernelGetAttribute(&value, attribute, k.kernel, k.device.handle), "cuKernelGetAttribute",
                 subject);
    return value;
  };
  k.registers_per_thread = ask(CU_FUNC_ATTRIBUTE_NUM_REGS);
  k.static_shared_bytes = ask(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  k.local_bytes = ask(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  k.max_threads_per_block = ask(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
}

}  // namespace

Kernel::~Kernel() {
  if (library) device.driver->api.cuLibraryUnload(library);
}

std::shared_ptr<const Kernel> load_kernel(const DeviceContext& device, std::span<const std::byte> cubin,
                                          const std::string& entry, int dynamic_shared_bytes) {
  const Driver& driver = *device.driver;
  const std::string subject =
      fmt::format("{} on GPU {} ({}, {})", entry, device.index, device.info->name, device.info->architecture);
  const ScopedContext scope(device);
  const RelaxedCapture relaxed(driver);
  auto k = std::make_shared<Kernel>();
  k->name = entry;
  k->device = device;
  k->dynamic_shared_bytes = dynamic_shared_bytes;
  driver.check(driver.api.cuLibraryLoadData(&k->library, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
               "cuLibraryLoadData", subject);
  driver.check(driver.api.cuLibraryGetKernel(&k->kernel, k->library, entry.c_str()), "cuLibraryGetKernel", subject);
  driver.check(driver.api.cuKernelGetFunction(&k->function, k->kernel), "cuKernelGetFunction", subject);
  read_resources(*k, subject);
  check(k->static_shared_bytes + dynamic_shared_bytes <= device.info->shared_per_block_bytes, ErrorCode::kUnsupported,
        "device", "{} needs {} bytes of shared memory per block, the GPU has {}; choose a smaller tile", subject,
        k->static_shared_bytes + dynamic_shared_bytes, device.info->shared_per_block_bytes);
  if (dynamic_shared_bytes > 0) {
    driver.check(driver.api.cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, dynamic_shared_bytes,
                                                 k->kernel, device.handle),
                 "cuKernelSetAttribute(MAX_DYNAMIC_SHARED_SIZE_BYTES)", subject);
  }
  return k;
}

std::shared_ptr<const Kernel> KernelTable::find_or_load(const DeviceContext& device, const std::string& key,
                                                        std::span<const std::byte> cubin, const std::string& entry,
                                                        int dynamic_shared_bytes) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<const Kernel>& place = loaded_[{device.index, key, dynamic_shared_bytes}];
  if (auto kernel = place.lock()) return kernel;
  auto kernel = load_kernel(device, cubin, entry, dynamic_shared_bytes);
  place = kernel;
  return kernel;
}

}  // namespace fovea::cuda
