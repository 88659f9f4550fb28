// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/fake_driver.h"

#include <cstring>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace fovea::cuda {
namespace {

FakeDriver fake;

CUresult result_of(const char* name) {
  fake.calls.emplace_back(name);
  const auto found = fake.results.find(name);
  return found == fake.results.end() ? CUDA_SUCCESS : found->second;
}

/// Stands for every entry point without a body below.
CUresult succeed() { return CUDA_SUCCESS; }

CUcontext primary_of(CUdevice device) { return reinterpret_cast<CUcontext>(std::intptr_t{0x1000} * (device + 1)); }

CUresult error_name(CUresult result, const char** text) {
  *text = result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER";
  return CUDA_SUCCESS;
}
CUresult error_string(CUresult, const char** text) {
  *text = "as the driver words it";
  return CUDA_SUCCESS;
}
CUresult init(unsigned) { return fake.init_result; }
CUresult device_count(int* n) {
  *n = fake.num_devices;
  return CUDA_SUCCESS;
}
CUresult device_get(CUdevice* device, int index) {
  *device = index;
  return CUDA_SUCCESS;
}
CUresult device_name(char* name, int n, CUdevice) {
  std::strncpy(name, "Fake GPU", static_cast<std::size_t>(n));
  return CUDA_SUCCESS;
}
CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = fake.attributes[attribute];
  return CUDA_SUCCESS;
}
CUresult total_memory(std::size_t* bytes, CUdevice) {
  *bytes = std::size_t{8} << 30;
  return CUDA_SUCCESS;
}
CUresult retain(CUcontext* context, CUdevice device) {
  *context = primary_of(device);
  return result_of("cuDevicePrimaryCtxRetain");
}
CUresult release(CUdevice) { return result_of("cuDevicePrimaryCtxRelease"); }
CUresult get_current(CUcontext* context) {
  *context = fake.context_stack.empty() ? nullptr : fake.context_stack.back();
  return CUDA_SUCCESS;
}
CUresult push(CUcontext context) {
  fake.context_stack.push_back(context);
  return CUDA_SUCCESS;
}
CUresult pop(CUcontext* context) {
  *context = fake.context_stack.back();
  fake.context_stack.pop_back();
  return CUDA_SUCCESS;
}
CUresult context_device(CUdevice* device) {
  // Primary contexts are 0x1000 and 0x2000; others of the same device add to that.
  *device = static_cast<CUdevice>((reinterpret_cast<std::intptr_t>(fake.context_stack.back()) >> 12) - 1);
  return CUDA_SUCCESS;
}
CUresult stream_context(CUstream stream, CUcontext* context) {
  *context = fake.stream_contexts[stream];
  return result_of("cuStreamGetCtx");
}
CUresult stream_id(CUstream stream, unsigned long long* id) {
  *id = reinterpret_cast<std::uintptr_t>(stream);
  return fake.capturing ? static_cast<CUresult>(900) : CUDA_SUCCESS;
}
CUresult capture_info(CUstream, CUstreamCaptureStatus* status, unsigned long long* id, CUgraph*, const void**,
                      std::size_t*) {
  *status = static_cast<CUstreamCaptureStatus>(fake.capturing);
  *id = 7;
  return CUDA_SUCCESS;
}
CUresult allocate(CUdeviceptr* address, std::size_t bytes) {
  *address = fake.next_address;
  fake.next_address += bytes;
  return result_of("cuMemAlloc");
}
CUresult allocate_async(CUdeviceptr* address, std::size_t bytes, CUstream) {
  *address = fake.next_address;
  fake.next_address += bytes;
  return result_of("cuMemAllocAsync");
}
CUresult free_async(CUdeviceptr, CUstream) { return result_of("cuMemFreeAsync"); }
CUresult free_memory(CUdeviceptr) { return result_of("cuMemFree"); }
CUresult library_load(CUlibrary* library, const void*, void*, void**, unsigned, void*, void**, unsigned) {
  *library = reinterpret_cast<CUlibrary>(0x77);
  return result_of("cuLibraryLoadData");
}
CUresult library_unload(CUlibrary) { return result_of("cuLibraryUnload"); }
CUresult get_kernel(CUkernel* kernel, CUlibrary, const char*) {
  *kernel = reinterpret_cast<CUkernel>(0x88);
  return CUDA_SUCCESS;
}
CUresult get_function(CUfunction* function, CUkernel) {
  *function = reinterpret_cast<CUfunction>(0x99);
  return CUDA_SUCCESS;
}
CUresult kernel_attribute(int* value, CUfunction_attribute attribute, CUkernel, CUdevice) {
  *value = attribute == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES ? fake.static_shared_bytes : 32;
  return CUDA_SUCCESS;
}
CUresult set_kernel_attribute(CUfunction_attribute, int, CUkernel, CUdevice) {
  return result_of("cuKernelSetAttribute");
}
CUresult launch(const CUlaunchConfig* config, CUfunction function, void**, void**) {
  fake.last_launch = *config;
  fake.last_attributes.clear();
  for (unsigned i = 0; i < config->numAttrs; ++i) fake.last_attributes.push_back(config->attrs[i].id);
  fake.last_function = function;
  fake.last_launch_context = fake.context_stack.empty() ? nullptr : fake.context_stack.back();
  return result_of("cuLaunchKernelEx");
}
CUresult encode(CUtensorMap* map, int, std::uint32_t rank, void*, const std::uint64_t*, const std::uint64_t*,
                const std::uint32_t*, const std::uint32_t*, int, int, int, int) {
  map->opaque[0] = rank;
  return CUDA_SUCCESS;
}

template <typename Function>
void* address(Function* function) {
  return reinterpret_cast<void*>(function);
}

const std::map<std::string, void*>& bodies() {
  static const std::map<std::string, void*> table = {
      {"cuGetErrorName", address(error_name)},
      {"cuGetErrorString", address(error_string)},
      {"cuInit", address(init)},
      {"cuDeviceGetCount", address(device_count)},
      {"cuDeviceGet", address(device_get)},
      {"cuDeviceGetName", address(device_name)},
      {"cuDeviceGetAttribute", address(device_attribute)},
      {"cuDeviceTotalMem", address(total_memory)},
      {"cuDevicePrimaryCtxRetain", address(retain)},
      {"cuDevicePrimaryCtxRelease", address(release)},
      {"cuCtxGetCurrent", address(get_current)},
      {"cuCtxPushCurrent", address(push)},
      {"cuCtxPopCurrent", address(pop)},
      {"cuCtxGetDevice", address(context_device)},
      {"cuStreamGetCtx", address(stream_context)},
      {"cuStreamGetId", address(stream_id)},
      {"cuStreamGetCaptureInfo", address(capture_info)},
      {"cuMemAlloc", address(allocate)},
      {"cuMemAllocAsync", address(allocate_async)},
      {"cuMemFreeAsync", address(free_async)},
      {"cuMemFree", address(free_memory)},
      {"cuLibraryLoadData", address(library_load)},
      {"cuLibraryUnload", address(library_unload)},
      {"cuLibraryGetKernel", address(get_kernel)},
      {"cuKernelGetFunction", address(get_function)},
      {"cuKernelGetAttribute", address(kernel_attribute)},
      {"cuKernelSetAttribute", address(set_kernel_attribute)},
      {"cuLaunchKernelEx", address(launch)},
      {"cuTensorMapEncodeTiled", address(encode)},
  };
  return table;
}

}  // namespace
}  // namespace fovea::cuda

EXPORT fovea::cuda::FakeDriver* fake_driver() { return &fovea::cuda::fake; }

EXPORT int cuDriverGetVersion(int* version) {
  *version = fovea::cuda::fake.version;
  return 0;
}

EXPORT int cuGetProcAddress_v2(const char* name, void** address, int, std::uint64_t, int*) {
  using namespace fovea::cuda;
  if (fake.hidden == name) return 500;
  const auto found = bodies().find(name);
  *address = found == bodies().end() ? reinterpret_cast<void*>(succeed) : found->second;
  return 0;
}
