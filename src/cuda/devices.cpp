// SPDX-License-Identifier: Apache-2.0
#include "cuda/devices.h"

#include "base/check.h"
#include "cuda/architectures.h"

namespace fovea::cuda {
namespace {

/// Null, CU_STREAM_LEGACY (1) and CU_STREAM_PER_THREAD (2) belong to whatever context is current.
bool is_default_stream(Stream stream) { return reinterpret_cast<std::uintptr_t>(stream.handle) <= 2; }

}  // namespace

ScopedContext::ScopedContext(const Driver& driver, CUcontext context) : driver_(driver) {
  CUcontext current = nullptr;
  driver.check(driver.api.cuCtxGetCurrent(&current), "cuCtxGetCurrent");
  if (current == context) return;
  driver.check(driver.api.cuCtxPushCurrent(context), "cuCtxPushCurrent");
  pushed_ = true;
}

ScopedContext::~ScopedContext() {
  CUcontext ours = nullptr;
  if (pushed_) driver_.api.cuCtxPopCurrent(&ours);
}

CUcontext context_of(const DeviceContext& device, Stream stream) {
  if (is_default_stream(stream)) return device.primary;
  const Driver& driver = *device.driver;
  CUcontext context = nullptr;
  const CUresult result = driver.api.cuStreamGetCtx(static_cast<CUstream>(stream.handle), &context);
  if (result == CUDA_SUCCESS && context == device.primary) [[likely]]
    return context;
  driver.check(result, "cuStreamGetCtx", "the caller's stream (was it destroyed?)");
  const ScopedContext scope(driver, context);
  CUdevice of_stream = -1;
  driver.check(driver.api.cuCtxGetDevice(&of_stream), "cuCtxGetDevice");
  check(of_stream == device.handle, ErrorCode::kInvalidArgument, "stream",
        "stream belongs to GPU {}, the tensors are on GPU {}; pass a stream of the tensors' device", of_stream,
        device.index);
  return context;
}

Devices::~Devices() {
  for (auto& slot : slots_) {
    if (slot->context.primary) driver_.api.cuDevicePrimaryCtxRelease(slot->context.handle);
  }
}

const Driver& Devices::driver() {
  std::call_once(loaded_, [this] {
    driver_ = load_driver(library_.c_str());
    for (int i = 0; i < driver_.num_devices; ++i) slots_.push_back(std::make_unique<Slot>());
  });
  return driver_;
}

Devices::Slot& Devices::slot(int index) {
  const Driver& d = driver();
  check(d.present(), ErrorCode::kUnsupported, "device", "no GPU can be used: {}", d.absence);
  check(index >= 0 && index < d.num_devices, ErrorCode::kInvalidArgument, "device",
        "device is GPU {}, this process sees {} (0 to {})", index, d.num_devices, d.num_devices - 1);
  return *slots_[static_cast<std::size_t>(index)];
}

const DeviceInfo& Devices::info(int index) {
  Slot& s = slot(index);
  std::call_once(s.described, [&] { s.info = describe_device(driver_, index); });
  return s.info;
}

DeviceContext& Devices::context(int index) {
  Slot& s = slot(index);
  std::call_once(s.retained, [&] {
    DeviceContext context = {&driver_, 0, index, nullptr, &info(index)};
    driver_.check(driver_.api.cuDeviceGet(&context.handle, index), "cuDeviceGet");
    driver_.check(driver_.api.cuDevicePrimaryCtxRetain(&context.primary, context.handle), "cuDevicePrimaryCtxRetain",
                  fmt::format("GPU {}", index));
    s.context = context;
  });
  return s.context;
}

DeviceInfo describe_device(const Driver& driver, int index) {
  CUdevice handle = 0;
  driver.check(driver.api.cuDeviceGet(&handle, index), "cuDeviceGet");
  const auto ask = [&](CUdevice_attribute attribute) {
    int value = 0;
    driver.check(driver.api.cuDeviceGetAttribute(&value, attribute, handle), "cuDeviceGetAttribute");
    return value;
  };
  char name[256] = {};
  std::size_t memory = 0;
  driver.check(driver.api.cuDeviceGetName(name, sizeof name, handle), "cuDeviceGetName");
  driver.check(driver.api.cuDeviceTotalMem(&memory, handle), "cuDeviceTotalMem");
  DeviceInfo info;
  info.device = {DeviceKind::kCUDA, index};
  info.name = name;
  info.compute_capability =
      10 * ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) + ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  info.architecture = architecture_name(info.compute_capability);
  info.num_sms = ask(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  info.shared_per_sm_bytes = ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  info.shared_per_block_bytes = ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  info.shared_reserved_bytes = ask(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
  info.registers_per_sm = ask(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
  info.max_threads_per_sm = ask(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  info.max_blocks_per_sm = ask(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
  info.l2_bytes = ask(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  info.memory_bytes = static_cast<std::int64_t>(memory);
  info.clock_khz = ask(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  info.memory_clock_khz = ask(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  info.memory_bus_bits = ask(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  set_features(info);
  return info;
}

}  // namespace fovea::cuda
