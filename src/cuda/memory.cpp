// SPDX-License-Identifier: Apache-2.0
#include "cuda/memory.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace fovea::cuda {
namespace {

constexpr std::size_t kGranularity = std::size_t{2} << 20;  // the driver maps memory in 2 MiB pages

std::string amount(std::size_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

DeviceBuffer::DeviceBuffer(const DeviceContext& device, std::size_t bytes) : device_(device), bytes_(bytes) {
  if (bytes == 0) return;
  const ScopedContext scope(device);
  device.driver->check(device.driver->api.cuMemAlloc(&address_, bytes), "cuMemAlloc",
                       fmt::format("{} on GPU {}", amount(bytes), device.index));
}

DeviceBuffer::~DeviceBuffer() {
  if (!address_) return;
  CUcontext unused = nullptr;
  const DriverApi& api = device_.driver->api;
  if (api.cuCtxPushCurrent(device_.primary) != CUDA_SUCCESS) return;
  api.cuMemFree(address_);
  api.cuCtxPopCurrent(&unused);
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

WorkspacePool::~WorkspacePool() {
  for (auto& [key, entry] : entries_) {
    const DriverApi& api = entry->device.driver->api;
    CUcontext unused = nullptr;
    if (api.cuCtxPushCurrent(entry->context) != CUDA_SUCCESS)
      continue;  // the context went first, and its memory with it
    if (entry->address) api.cuMemFree(entry->address);
    for (CUdeviceptr address : entry->retired) api.cuMemFree(address);
    api.cuCtxPopCurrent(&unused);
  }
}

WorkspaceLease WorkspacePool::acquire(const DeviceContext& device, Stream stream, std::size_t bytes) {
  const Driver& driver = *device.driver;
  const CUcontext context = context_of(device, stream);
  const ScopedContext scope(driver, context);
  const auto native = static_cast<CUstream>(stream.handle);
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  unsigned long long stream_id = 0, capture_id = 0;  // unlike the handle, never given out twice
  driver.check(driver.api.cuStreamGetCaptureInfo(native, &capture, &capture_id, nullptr, nullptr, nullptr),
               "cuStreamGetCaptureInfo");
  const bool capturing = capture != CU_STREAM_CAPTURE_STATUS_NONE;
  if (!capturing) {
    capture_id = 0;
    driver.check(driver.api.cuStreamGetId(native, &stream_id), "cuStreamGetId");  // refused in a capture
  }
  Entry* entry = nullptr;
  {
    const std::lock_guard lock(mutex_);
    std::unique_ptr<Entry>& slot = entries_[{context, stream_id, capture_id, capturing ? native : nullptr}];
    if (!slot) {
      slot = std::make_unique<Entry>();
      slot->device = device;
      slot->context = context;
      int has_pools = 0;
      driver.api.cuDeviceGetAttribute(&has_pools, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, device.handle);
      slot->has_pools = has_pools != 0;
      slot->is_captured = capturing;
    }
    entry = slot.get();
  }
  std::unique_lock lock(entry->mutex);
  if (bytes > entry->bytes) grow(*entry, native, bytes);
  return {std::move(lock), entry->address};
}

void WorkspacePool::grow(Entry& entry, CUstream stream, std::size_t bytes) {
  const Driver& driver = *entry.device.driver;
  const std::size_t wanted = static_cast<std::size_t>(
      round_up(static_cast<std::int64_t>(std::max(bytes, entry.bytes + entry.bytes / 4)), kGranularity));
  // Allocating and freeing in a captured stream would become part of the graph, so memory then lives outside of it.
  const bool ordered = entry.has_pools && !entry.is_captured;
  if (entry.address && ordered) {
    driver.check(driver.api.cuMemFreeAsync(entry.address, stream), "cuMemFreeAsync");
  } else if (entry.address) {
    entry.retired.push_back(entry.address);
  }
  entry.address = 0;
  entry.bytes = 0;
  const std::string subject = fmt::format("a workspace of {} on GPU {}", amount(wanted), entry.device.index);
  if (ordered) {
    driver.check(driver.api.cuMemAllocAsync(&entry.address, wanted, stream), "cuMemAllocAsync", subject);
  } else {
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    driver.api.cuThreadExchangeStreamCaptureMode(&mode);
    const CUresult result = driver.api.cuMemAlloc(&entry.address, wanted);
    driver.api.cuThreadExchangeStreamCaptureMode(&mode);
    driver.check(result, "cuMemAlloc", subject);
  }
  // In a capture this becomes a node ahead of the first user, and every replay begins with zeros.
  if (zeroed_) driver.check(driver.api.cuMemsetD8Async(entry.address, 0, wanted, stream), "cuMemsetD8Async", subject);
  entry.bytes = wanted;
}

}  // namespace fovea::cuda
