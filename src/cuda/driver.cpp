// SPDX-License-Identifier: Apache-2.0
#include "cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

#include "base/check.h"

namespace fovea::cuda {
namespace {

using GetProcAddress = CUresult (*)(const char*, void**, int, std::uint64_t, int*);

/// Resolves one name at the driver's version of it that has our signature.
struct Resolver {
  GetProcAddress get;
  std::string missing;

  template <typename Function>
  void operator()(Function*& slot, const char* name, int version) {
    void* address = nullptr;
    if (get(name, &address, version, 0, nullptr) != CUDA_SUCCESS || !address) {
      if (missing.empty()) missing = name;
      return;
    }
    slot = reinterpret_cast<Function*>(address);
  }
};

// The number is the CUDA version that brought the signature declared in driver_api.h.
#define FOVEA_RESOLVE(name, version) resolve(api.name, #name, version)

void resolve_devices_and_streams(DriverApi& api, Resolver& resolve) {
  FOVEA_RESOLVE(cuGetErrorName, 6000);
  FOVEA_RESOLVE(cuGetErrorString, 6000);
  FOVEA_RESOLVE(cuInit, 2000);
  FOVEA_RESOLVE(cuDriverGetVersion, 2020);
  FOVEA_RESOLVE(cuDeviceGetCount, 2000);
  FOVEA_RESOLVE(cuDeviceGet, 2000);
  FOVEA_RESOLVE(cuDeviceGetName, 2000);
  FOVEA_RESOLVE(cuDeviceGetAttribute, 2000);
  FOVEA_RESOLVE(cuDeviceTotalMem, 3020);
  FOVEA_RESOLVE(cuDeviceGetUuid, 11040);
  FOVEA_RESOLVE(cuDevicePrimaryCtxRetain, 7000);
  FOVEA_RESOLVE(cuDevicePrimaryCtxRelease, 11000);
  FOVEA_RESOLVE(cuCtxGetCurrent, 4000);
  FOVEA_RESOLVE(cuCtxPushCurrent, 4000);
  FOVEA_RESOLVE(cuCtxPopCurrent, 4000);
  FOVEA_RESOLVE(cuCtxGetDevice, 2000);
  FOVEA_RESOLVE(cuCtxSynchronize, 2000);
  FOVEA_RESOLVE(cuStreamCreate, 2000);
  FOVEA_RESOLVE(cuStreamDestroy, 4000);
  FOVEA_RESOLVE(cuStreamSynchronize, 2000);
  FOVEA_RESOLVE(cuStreamGetCtx, 9020);
  FOVEA_RESOLVE(cuStreamGetId, 12000);
  FOVEA_RESOLVE(cuStreamGetCaptureInfo, 11030);
  FOVEA_RESOLVE(cuStreamBeginCapture, 10010);
  FOVEA_RESOLVE(cuStreamEndCapture, 10000);
  FOVEA_RESOLVE(cuThreadExchangeStreamCaptureMode, 10010);
  FOVEA_RESOLVE(cuGraphInstantiateWithFlags, 11040);
  FOVEA_RESOLVE(cuGraphLaunch, 10000);
  FOVEA_RESOLVE(cuGraphExecDestroy, 10000);
  FOVEA_RESOLVE(cuGraphDestroy, 10000);
  FOVEA_RESOLVE(cuEventCreate, 2000);
  FOVEA_RESOLVE(cuEventDestroy, 4000);
  FOVEA_RESOLVE(cuEventRecord, 2000);
  FOVEA_RESOLVE(cuEventSynchronize, 2000);
  FOVEA_RESOLVE(cuEventElapsedTime, 2000);
}

void resolve_memory_and_kernels(DriverApi& api, Resolver& resolve) {
  FOVEA_RESOLVE(cuMemAlloc, 3020);
  FOVEA_RESOLVE(cuMemFree, 3020);
  FOVEA_RESOLVE(cuMemAllocAsync, 11020);
  FOVEA_RESOLVE(cuMemFreeAsync, 11020);
  FOVEA_RESOLVE(cuMemGetInfo, 3020);
  FOVEA_RESOLVE(cuMemcpyHtoDAsync, 3020);
  FOVEA_RESOLVE(cuMemcpyDtoHAsync, 3020);
  FOVEA_RESOLVE(cuMemsetD8Async, 3020);
  FOVEA_RESOLVE(cuMemsetD16Async, 3020);
  FOVEA_RESOLVE(cuMemsetD32Async, 3020);
  FOVEA_RESOLVE(cuPointerGetAttribute, 4000);
  FOVEA_RESOLVE(cuLibraryLoadData, 12000);
  FOVEA_RESOLVE(cuLibraryUnload, 12000);
  FOVEA_RESOLVE(cuLibraryGetKernel, 12000);
  FOVEA_RESOLVE(cuKernelGetFunction, 12000);
  FOVEA_RESOLVE(cuKernelGetAttribute, 12000);
  FOVEA_RESOLVE(cuKernelSetAttribute, 12000);
  FOVEA_RESOLVE(cuLaunchKernelEx, 11060);
  FOVEA_RESOLVE(cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050);
  FOVEA_RESOLVE(cuOccupancyMaxActiveClusters, 11070);
  FOVEA_RESOLVE(cuTensorMapEncodeTiled, 12000);
}

#undef FOVEA_RESOLVE

// A child of fork() inherits contexts that CUDA does not serve there: it answers with errors that tell nothing of it.
std::atomic<bool> was_forked{false};
constexpr const char* kForked =
    "this process was forked after CUDA was initialised, and CUDA does not work in such a child: start workers by "
    "spawn (multiprocessing.get_context(\"spawn\")), or fork before the first call on a GPU";

void watch_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { was_forked = true; });
  check(registered == 0, ErrorCode::kInternal, "", "pthread_atfork failed with {}", registered);
}

std::string too_old(int version, std::string_view missing) {
  return fmt::format(
      "the NVIDIA driver is too old: it knows CUDA {}.{}{}{}, Fovea needs 12.0 (driver 525 or newer); update the "
      "driver",
      version / 1000, version % 1000 / 10, missing.empty() ? "" : " and lacks ", missing);
}

/// Initialises and counts; returns the absence, empty if all is well.
std::string start(Driver& driver) {
  const CUresult initialised = driver.api.cuInit(0);
  if (initialised == CUDA_ERROR_NO_DEVICE) {
    return "the NVIDIA driver finds no GPU (CUDA_ERROR_NO_DEVICE); is CUDA_VISIBLE_DEVICES empty, or the device not "
           "passed into the container?";
  }
  if (initialised == CUDA_ERROR_NOT_INITIALIZED) return kForked;
  if (initialised != CUDA_SUCCESS) {
    return fmt::format("the NVIDIA driver does not start: cuInit gives {}; nvidia-smi may tell more",
                       driver.describe(initialised));
  }
  if (driver.api.cuDeviceGetCount(&driver.num_devices) != CUDA_SUCCESS || driver.num_devices == 0) {
    return "the NVIDIA driver lists no GPU; is CUDA_VISIBLE_DEVICES empty?";
  }
  watch_forks();
  return {};
}

}  // namespace

Driver load_driver(const char* library) {
  Driver driver;
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    driver.absence = fmt::format("no NVIDIA driver: {} was not found", library);
    return driver;
  }
  auto* version = reinterpret_cast<CUresult (*)(int*)>(dlsym(handle, "cuDriverGetVersion"));
  if (version) version(&driver.version);
  auto* get = reinterpret_cast<GetProcAddress>(dlsym(handle, "cuGetProcAddress_v2"));
  if (!get || driver.version < kOldestDriver) {
    driver.absence = too_old(driver.version, get ? "" : "cuGetProcAddress_v2");
    return driver;
  }
  Resolver resolve{get, {}};
  resolve_devices_and_streams(driver.api, resolve);
  resolve_memory_and_kernels(driver.api, resolve);
  driver.absence = resolve.missing.empty() ? start(driver) : too_old(driver.version, resolve.missing);
  return driver;
}

bool is_sticky(CUresult result) {
  switch (result) {
    case 214:  // ECC_UNCORRECTABLE
    case 220:  // NVLINK_UNCORRECTABLE
    case 226:  // CONTAINED
    case 700:  // ILLEGAL_ADDRESS
    case 702:  // LAUNCH_TIMEOUT
    case 709:  // CONTEXT_IS_DESTROYED
    case 710:  // ASSERT
    case 714:  // HARDWARE_STACK_ERROR
    case 715:  // ILLEGAL_INSTRUCTION
    case 716:  // MISALIGNED_ADDRESS
    case 717:  // INVALID_ADDRESS_SPACE
    case 718:  // INVALID_PC
    case 719:  // LAUNCH_FAILED
      return true;
    default: return false;
  }
}

std::string Driver::describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  if (api.cuGetErrorName) api.cuGetErrorName(result, &name);
  if (api.cuGetErrorString) api.cuGetErrorString(result, &text);
  return fmt::format("{} ({}{}{})", name ? name : "CUDA error", result, text ? ", " : "", text ? text : "");
}

void Driver::raise(CUresult result, const char* call, std::string_view subject) const {
  std::string message =
      fmt::format("{}{}{} failed: {}", call, subject.empty() ? "" : " for ", subject, describe(result));
  if (was_forked) fail(ErrorCode::kUnsupported, "", "{}; {}", message, kForked);
  if (is_sticky(result)) {
    message +=
        "; a kernel of this process (not necessarily Fovea's) failed earlier and poisoned the GPU context, so every "
        "further "
        "CUDA call fails: restart the process, and find the kernel with compute-sanitizer or CUDA_LAUNCH_BLOCKING=1";
  } else if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    message += "; free memory on this GPU, or use a smaller batch";
  } else if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION || result == CUDA_ERROR_NO_BINARY_FOR_GPU ||
             result == CUDA_ERROR_INVALID_IMAGE) {
    message += fmt::format("; this driver knows CUDA {}.{}: a kernel compiled by a newer NVRTC may need a newer driver",
                           version / 1000, version % 1000 / 10);
  }
  throw Error(ErrorCode::kCuda, "", message);
}

}  // namespace fovea::cuda
