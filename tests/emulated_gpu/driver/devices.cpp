// SPDX-License-Identifier: Apache-2.0
// Devices and contexts, and how the process finds the entry points.
#include <cstdlib>
#include <cstring>

#include "tests/emulated_gpu/driver/state.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace fovea::emulated {
namespace {

using namespace cuda;

// The numbers of real boards, but for the count of processors: few, so that blocks that stay take several tiles.
constexpr EmulatedDevice kBoards[] = {
    {75, "Tesla T4", 64, 64, 0, 1024, 16, 4, 1590, 5001, 256},
    {80, "A100", 164, 163, 1024, 2048, 32, 40, 1410, 1593, 5120},
    {86, "GeForce RTX 3090", 100, 99, 1024, 1536, 16, 6, 1695, 9751, 384},
    {89, "GeForce RTX 4090", 100, 99, 1024, 1536, 24, 72, 2520, 10501, 384},
    {90, "H200", 228, 227, 1024, 2048, 32, 60, 1980, 3201, 6144},
};

thread_local std::vector<CUcontext> context_stack;

const char* variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? value : otherwise;
}

bool add_device(State& s, const std::string& name) {
  for (const EmulatedDevice& board : kBoards) {
    if (name != "sm_" + std::to_string(board.compute_capability)) continue;
    EmulatedDevice device = board;
    device.num_sms = std::atoi(variable("FOVEA_EMULATED_GPU_SMS", "4"));
    device.memory_bytes = std::size_t{3} << 30;
    s.devices.push_back(device);
    s.default_streams.push_back(std::make_unique<Stream>());
    s.default_streams.back()->device = static_cast<CUdevice>(s.devices.size()) - 1;
    s.default_streams.back()->id = s.next_id++;
    return true;
  }
  std::fprintf(stderr, "emulated GPU: FOVEA_EMULATED_GPU names '%s', known are sm_75, sm_80, sm_86, sm_89, sm_90\n",
               name.c_str());
  return false;
}

CUresult init(unsigned) {
  const std::lock_guard lock(state().mutex);
  if (!state().devices.empty()) return kOk;
  return read_environment(state()) ? kOk : CUDA_ERROR_NO_DEVICE;
}
CUresult driver_version(int* version) {
  *version = 12090;
  return kOk;
}
CUresult device_count(int* n) {
  *n = static_cast<int>(state().devices.size());
  return kOk;
}
bool exists(CUdevice device) { return device >= 0 && static_cast<std::size_t>(device) < state().devices.size(); }
EmulatedDevice& device_at(CUdevice device) { return state().devices[static_cast<std::size_t>(device)]; }

CUresult device_get(CUdevice* device, int index) {
  if (!exists(index)) return 101;
  *device = index;
  return kOk;
}
CUresult device_name(char* name, int n, CUdevice device) {
  std::snprintf(name, static_cast<std::size_t>(n), "emulated %s", device_at(device).board);
  return kOk;
}

CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice index) {
  const EmulatedDevice& d = device_at(index);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = d.clock_mhz * 1000; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = d.num_sms; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = d.memory_clock_mhz * 1000; break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = d.memory_bus_bits; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = d.l2_mib << 20; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = d.max_threads_per_sm; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = d.compute_capability / 10; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = d.compute_capability % 10; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = d.shared_per_sm_kib * 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = d.shared_per_block_kib * 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *value = d.max_blocks_per_sm; break;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *value = d.shared_reserved_bytes; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    default: return kInvalidValue;
  }
  return kOk;
}
CUresult total_memory(std::size_t* bytes, CUdevice device) {
  *bytes = device_at(device).memory_bytes;
  return kOk;
}
CUresult device_uuid(CUuuid* uuid, CUdevice device) {
  std::memset(uuid, 0xe0, sizeof *uuid);
  uuid->bytes[15] = static_cast<unsigned char>(device);
  return kOk;
}

CUresult retain(CUcontext* context, CUdevice device) {
  if (!exists(device)) return 101;
  ++device_at(device).retained;
  *context = context_of(device);
  return kOk;
}
CUresult release(CUdevice device) {
  --device_at(device).retained;
  return kOk;
}
CUresult get_current(CUcontext* context) {
  *context = context_stack.empty() ? nullptr : context_stack.back();
  return kOk;
}
CUresult push(CUcontext context) {
  if (!context) return kInvalidContext;
  context_stack.push_back(context);
  return kOk;
}
CUresult pop(CUcontext* context) {
  if (context_stack.empty()) return kInvalidContext;
  *context = context_stack.back();
  context_stack.pop_back();
  return kOk;
}
CUresult get_device(CUdevice* device) {
  *device = current_device();
  return *device < 0 ? kInvalidContext : kOk;
}

CUresult error_name(CUresult result, const char** name) {
  static const struct {
    CUresult result;
    const char* name;
  } kNames[] = {{kOk, "CUDA_SUCCESS"},
                {kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
                {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
                {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
                {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
                {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
                {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE"},
                {kNotFound, "CUDA_ERROR_NOT_FOUND"},
                {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                {kOutOfResources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
                {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"},
                {kNotPermitted, "CUDA_ERROR_NOT_PERMITTED"},
                {kCaptureUnsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}};
  *name = nullptr;
  for (const auto& known : kNames) {
    if (known.result == result) *name = known.name;
  }
  return *name ? kOk : kInvalidValue;
}
CUresult error_string(CUresult, const char** text) {
  *text = "on the emulated GPU";
  return kOk;
}

CUresult get_entry_point(const char* name, void** function, int, std::uint64_t, int*) {
  static const std::vector<EntryPoint> all = [] {
    std::vector<EntryPoint> found = device_entry_points();
    for (const auto& more : {memory_entry_points(), stream_entry_points(), kernel_entry_points()}) {
      found.insert(found.end(), more.begin(), more.end());
    }
    return found;
  }();
  *function = nullptr;
  for (const EntryPoint& entry : all) {
    if (std::strcmp(entry.name, name) == 0) *function = entry.function;
  }
  return *function ? kOk : kNotFound;
}

}  // namespace

State& state() {
  static auto* const the = new State();
  return *the;
}

bool read_environment(State& s) {
  const std::string names = variable("FOVEA_EMULATED_GPU", "sm_90");
  for (std::size_t begin = 0; begin <= names.size();) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    if (!add_device(s, names.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  const std::string when = variable("FOVEA_EMULATED_GPU_COPIES", "late");
  if (when != "late" && when != "early" && when != "random") {
    std::fprintf(stderr, "emulated GPU: FOVEA_EMULATED_GPU_COPIES is '%s', must be late, early or random\n",
                 when.c_str());
    return false;
  }
  s.options.asynchrony = when == "late"    ? Asynchrony::kLate
                         : when == "early" ? Asynchrony::kEarly
                                           : Asynchrony::kRandom;
  const std::string garbage = variable("FOVEA_EMULATED_GPU_GARBAGE", "nan");
  if (garbage != "nan" && garbage != "large") {
    std::fprintf(stderr, "emulated GPU: FOVEA_EMULATED_GPU_GARBAGE is '%s', must be nan or large\n", garbage.c_str());
    return false;
  }
  s.options.garbage = garbage == "nan" ? kNaNByte : kLargeByte;
  s.options.seed = static_cast<unsigned>(std::atoi(variable("FOVEA_EMULATED_GPU_SEED", "0")));
  return true;
}

CUdevice current_device() {
  if (context_stack.empty()) return -1;
  return static_cast<CUdevice>(reinterpret_cast<std::uintptr_t>(context_stack.back()) / 0x1000) - 1;
}
CUcontext context_of(CUdevice device) {
  return reinterpret_cast<CUcontext>(std::uintptr_t{0x1000} * static_cast<unsigned>(device + 1));
}

std::vector<EntryPoint> device_entry_points() {
  return {{"cuGetErrorName", address(error_name)},
          {"cuGetErrorString", address(error_string)},
          {"cuInit", address(init)},
          {"cuDriverGetVersion", address(driver_version)},
          {"cuDeviceGetCount", address(device_count)},
          {"cuDeviceGet", address(device_get)},
          {"cuDeviceGetName", address(device_name)},
          {"cuDeviceGetAttribute", address(device_attribute)},
          {"cuDeviceTotalMem", address(total_memory)},
          {"cuDeviceGetUuid", address(device_uuid)},
          {"cuDevicePrimaryCtxRetain", address(retain)},
          {"cuDevicePrimaryCtxRelease", address(release)},
          {"cuCtxGetCurrent", address(get_current)},
          {"cuCtxPushCurrent", address(push)},
          {"cuCtxPopCurrent", address(pop)},
          {"cuCtxGetDevice", address(get_device)}};
}

}  // namespace fovea::emulated

EXPORT int cuDriverGetVersion(int* version) { return fovea::emulated::driver_version(version); }
EXPORT int cuGetProcAddress_v2(const char* name, void** function, int version, std::uint64_t flags, int* status) {
  return fovea::emulated::get_entry_point(name, function, version, flags, status);
}
