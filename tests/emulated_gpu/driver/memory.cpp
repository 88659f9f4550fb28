// SPDX-License-Identifier: Apache-2.0
// Device memory: host memory between pages that nobody may touch, filled with NaN.
#include <sys/mman.h>

#include <cstring>
#include <map>

#include "tests/emulated_gpu/driver/state.h"

namespace fovea::emulated {
namespace {

using namespace cuda;

constexpr std::size_t kPage = 4096, kAlignment = 256;  // of the driver's allocations
constexpr unsigned char kCanary = 0xff;

struct Allocation {
  CUdevice device;
  std::size_t bytes;
  char* mapped;  // a page, the memory (its end at a page's end but for the alignment), a page
  std::size_t mapped_bytes;
};
std::map<CUdeviceptr, Allocation>& allocations() {
  static auto* const all = new std::map<CUdeviceptr, Allocation>();
  return *all;
}

std::size_t round_to(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

CUresult allocate(CUdeviceptr* address, std::size_t bytes) {
  const std::lock_guard lock(state().mutex);
  if (state().sticky != kOk) return state().sticky;
  const CUdevice device = current_device();
  if (device < 0) return kInvalidContext;
  if (bytes == 0) return kInvalidValue;
  EmulatedDevice& d = state().devices[static_cast<std::size_t>(device)];
  if (bytes > d.memory_bytes - d.used_bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::size_t taken = round_to(bytes, kAlignment), pages = round_to(taken, kPage);
  void* mapped =
      mmap(nullptr, pages + 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  char* first = static_cast<char*>(mapped);
  mprotect(first, kPage, PROT_NONE);
  mprotect(first + kPage + pages, kPage, PROT_NONE);
  std::memset(first + kPage, kNaNByte, pages);
  *address = reinterpret_cast<CUdeviceptr>(first + kPage + pages - taken);
  allocations()[*address] = {device, bytes, first, pages + 2 * kPage};
  d.used_bytes += bytes;
  return kOk;
}

bool is_untouched(const char* begin, const char* end) {
  for (; begin < end; ++begin) {
    if (static_cast<unsigned char>(*begin) != kCanary) return false;
  }
  return true;
}

bool is_whole(CUdeviceptr address, const Allocation& a) {
  const char* memory = reinterpret_cast<const char*>(address);
  return is_untouched(a.mapped + kPage, memory) && is_untouched(memory + a.bytes, a.mapped + a.mapped_bytes - kPage);
}

CUresult release(CUdeviceptr address) {
  const std::lock_guard lock(state().mutex);
  const auto found = allocations().find(address);
  if (found == allocations().end()) return kInvalidValue;
  const Allocation a = found->second;
  state().devices[static_cast<std::size_t>(a.device)].used_bytes -= a.bytes;
  munmap(a.mapped, a.mapped_bytes);
  allocations().erase(found);
  return state().sticky;
}

CUresult allocate_async(CUdeviceptr* address, std::size_t bytes, CUstream) { return allocate(address, bytes); }
CUresult release_async(CUdeviceptr address, CUstream) { return release(address); }

CUresult memory_info(std::size_t* spare, std::size_t* total) {
  const CUdevice device = current_device();
  if (device < 0) return kInvalidContext;
  const EmulatedDevice& d = state().devices[static_cast<std::size_t>(device)];
  *total = d.memory_bytes;
  *spare = d.memory_bytes - d.used_bytes;
  return kOk;
}

/// The allocation that has all these bytes; end() without one.
auto find(CUdeviceptr address, std::size_t bytes) {
  auto found = allocations().upper_bound(address);
  if (found == allocations().begin()) return allocations().end();
  --found;
  return address + bytes <= found->first + found->second.bytes ? found : allocations().end();
}
bool exists(CUdeviceptr address, std::size_t bytes) {
  const std::lock_guard lock(state().mutex);
  return find(address, bytes) != allocations().end();
}

CUresult copy_to_device(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  if (!exists(to, bytes)) return kInvalidValue;
  return run_or_record(stream, [=] {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return kOk;
  });
}
CUresult copy_to_host(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  if (!exists(from, bytes)) return kInvalidValue;
  return run_or_record(stream, [=] {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return kOk;
  });
}

template <typename T>
CUresult set(CUdeviceptr to, T value, std::size_t count, CUstream stream) {
  if (!exists(to, count * sizeof(T))) return kInvalidValue;
  return run_or_record(stream, [=] {
    for (std::size_t i = 0; i < count; ++i) std::memcpy(reinterpret_cast<char*>(to) + i * sizeof(T), &value, sizeof(T));
    return kOk;
  });
}

CUresult pointer_attribute(void* value, CUpointer_attribute attribute, CUdeviceptr address) {
  const std::lock_guard lock(state().mutex);
  const auto found = find(address, 0);
  if (found == allocations().end()) return kInvalidValue;
  *static_cast<int*>(value) = attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE ? 2 : found->second.device;
  return kOk;
}

}  // namespace

std::string find_stray_write() {
  const std::lock_guard lock(state().mutex);
  for (const auto& [address, allocation] : allocations()) {
    if (!is_whole(address, allocation)) {
      return "something was written beside the " + std::to_string(allocation.bytes) + " bytes at " + hex(address);
    }
  }
  return {};
}

std::vector<EntryPoint> memory_entry_points() {
  return {{"cuMemAlloc", address(allocate)},
          {"cuMemFree", address(release)},
          {"cuMemAllocAsync", address(allocate_async)},
          {"cuMemFreeAsync", address(release_async)},
          {"cuMemGetInfo", address(memory_info)},
          {"cuMemcpyHtoDAsync", address(copy_to_device)},
          {"cuMemcpyDtoHAsync", address(copy_to_host)},
          {"cuMemsetD8Async", address(set<unsigned char>)},
          {"cuMemsetD16Async", address(set<unsigned short>)},
          {"cuMemsetD32Async", address(set<unsigned>)},
          {"cuPointerGetAttribute", address(pointer_attribute)}};
}

}  // namespace fovea::emulated
