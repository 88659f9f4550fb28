// SPDX-License-Identifier: Apache-2.0
// Loading, asking and launching kernels; tensor maps.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/emulated_gpu/driver/image.h"
#include "tests/emulated_gpu/driver/state.h"

namespace fovea::emulated {
namespace {

using namespace cuda;

struct Library {
  void* handle = nullptr;
  const KernelDescription* description = nullptr;
  ImageHead head = {};
  std::string entry;
  int most_dynamic_shared = 48 << 10;  // until the attribute raises it
};

std::string write_temporary(const char* bytes, std::size_t size) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder && *folder ? folder : "/tmp") + "/fovea-emulated-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0) return {};
  std::size_t done = 0;
  while (done < size) {
    const ssize_t written = write(file, bytes + done, size - done);
    if (written <= 0) break;
    done += static_cast<std::size_t>(written);
  }
  close(file);
  return path;
}

CUresult load(CUlibrary* library, const void* image, void*, void**, unsigned, void*, void**, unsigned) {
  if (state().sticky != kOk) return state().sticky;
  const CUdevice device = current_device();
  if (device < 0) return kInvalidContext;
  ImageHead head;
  std::memcpy(&head, image, sizeof head);
  if (head.magic != ImageHead::kMagic) return CUDA_ERROR_INVALID_IMAGE;
  const int capability = state().devices[static_cast<std::size_t>(device)].compute_capability;
  // Code of one generation runs on later ones of the same major version, that with a letter (9.0) only on its own.
  if (head.compute_capability / 10 != capability / 10 || head.compute_capability > capability) {
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  const std::string path = write_temporary(static_cast<const char*>(image) + sizeof head, head.bytes);
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) std::fprintf(stderr, "emulated GPU: %s\n", dlerror());
  unlink(path.c_str());
  if (!handle) return CUDA_ERROR_INVALID_IMAGE;
  auto* describe = reinterpret_cast<const KernelDescription* (*)()>(dlsym(handle, "fovea_emulated_kernel"));
  auto* name = static_cast<const char*>(dlsym(handle, "fovea_emulated_entry"));
  if (!describe || !name) return CUDA_ERROR_INVALID_IMAGE;
  *library = reinterpret_cast<CUlibrary>(new Library{handle, describe(), head, name});
  return kOk;
}
CUresult unload(CUlibrary library) {
  auto* l = reinterpret_cast<Library*>(library);
  dlclose(l->handle);
  delete l;
  return kOk;
}
CUresult get_kernel(CUkernel* kernel, CUlibrary library, const char* name) {
  if (reinterpret_cast<Library*>(library)->entry != name) return kNotFound;
  *kernel = reinterpret_cast<CUkernel>(library);
  return kOk;
}
CUresult get_function(CUfunction* function, CUkernel kernel) {
  *function = reinterpret_cast<CUfunction>(kernel);
  return kOk;
}
CUresult get_attribute(int* value, CUfunction_attribute attribute, CUkernel kernel, CUdevice) {
  const auto& l = *reinterpret_cast<Library*>(kernel);
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = l.description->threads; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = l.description->static_shared_bytes; break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = 0; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = l.head.registers; break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = l.most_dynamic_shared; break;
    default: return kInvalidValue;
  }
  return kOk;
}
CUresult set_attribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device) {
  auto& l = *reinterpret_cast<Library*>(kernel);
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    const EmulatedDevice& d = state().devices[static_cast<std::size_t>(device)];
    if (value + l.description->static_shared_bytes > d.shared_per_block_kib * 1024) return kInvalidValue;
    l.most_dynamic_shared = value;
  }
  return kOk;
}

unsigned cluster_of(const CUlaunchConfig& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) return config.attrs[i].value.clusterDim.x;
  }
  return 1;
}

CUresult check_launch(const CUlaunchConfig& config, const Library& l, const EmulatedDevice& device) {
  const unsigned threads = config.blockDimX * config.blockDimY * config.blockDimZ, cluster = cluster_of(config);
  if (threads == 0 || config.gridDimX == 0 || config.gridDimY == 0 || config.gridDimZ == 0) return kInvalidValue;
  if (threads > 1024 || threads > static_cast<unsigned>(l.description->threads)) return kOutOfResources;
  if (config.sharedMemBytes > static_cast<unsigned>(l.most_dynamic_shared)) return kInvalidValue;
  if (cluster == 0 || cluster > 8 || config.gridDimX % cluster != 0) return kInvalidValue;
  if (device.compute_capability < 90 && config.numAttrs > 0) return kInvalidValue;
  return kOk;
}

CUresult run(const Library& l, const LaunchShape& shape, void** parameters) {
  std::string failure = run_launch(state().options, shape, *l.description, parameters);
  if (failure.empty()) failure = find_stray_write();
  if (failure.empty()) return kOk;
  return poison(failure.find(shape.name) == std::string::npos ? failure + " by " + shape.name : failure);
}

CUresult launch_kernel(const CUlaunchConfig* config, CUfunction function, void** parameters, void**) {
  const auto* l = reinterpret_cast<Library*>(function);
  const Stream* stream = stream_of(config->hStream);
  if (!stream) return kInvalidHandle;
  const EmulatedDevice& device = state().devices[static_cast<std::size_t>(stream->device)];
  if (const CUresult result = check_launch(*config, *l, device); result != kOk) return result;
  const LaunchShape shape = {l->entry,
                             {config->gridDimX, config->gridDimY, config->gridDimZ},
                             {config->blockDimX, config->blockDimY, config->blockDimZ},
                             cluster_of(*config),
                             static_cast<int>(config->sharedMemBytes),
                             l->head.registers};
  // Parameters are copied now: a graph replays them.
  struct alignas(128) Copy {
    char bytes[128];
  };
  std::vector<std::vector<Copy>> copies;
  for (int i = 0; i < l->description->num_parameters; ++i) {
    const auto bytes = static_cast<std::size_t>(l->description->parameter_bytes[i]);
    auto& copy = copies.emplace_back(bytes / sizeof(Copy) + 1);
    std::memcpy(copy.data(), parameters[i], bytes);
  }
  return run_or_record(config->hStream, [l, shape, copies]() mutable {
    std::vector<void*> pointers;
    for (auto& copy : copies) pointers.push_back(copy.data());
    return run(*l, shape, pointers.data());
  });
}

int blocks_per_sm(const EmulatedDevice& d, const Library& l, int threads, std::size_t dynamic_shared) {
  const int warps = (threads + 31) / 32;
  const int registers = (l.head.registers * 32 + 255) / 256 * 256 * ((warps + 3) / 4 * 4);
  const int shared = l.description->static_shared_bytes + static_cast<int>(dynamic_shared) + d.shared_reserved_bytes;
  return std::min({d.max_blocks_per_sm, d.max_threads_per_sm / (32 * warps), 65536 / std::max(1, registers),
                   d.shared_per_sm_kib * 1024 / std::max(1, shared)});
}
CUresult active_blocks(int* blocks, CUfunction function, int threads, std::size_t dynamic_shared) {
  const CUdevice device = current_device();
  if (device < 0) return kInvalidContext;
  *blocks = blocks_per_sm(state().devices[static_cast<std::size_t>(device)], *reinterpret_cast<Library*>(function),
                          threads, dynamic_shared);
  return kOk;
}
CUresult active_clusters(int* clusters, CUfunction function, const CUlaunchConfig* config) {
  const CUdevice device = current_device();
  if (device < 0) return kInvalidContext;
  const EmulatedDevice& d = state().devices[static_cast<std::size_t>(device)];
  const int blocks = blocks_per_sm(d, *reinterpret_cast<Library*>(function), static_cast<int>(config->blockDimX),
                                   config->sharedMemBytes);
  *clusters = blocks * d.num_sms / static_cast<int>(cluster_of(*config));
  return kOk;
}

CUresult encode_tensor_map(CUtensorMap* map, int type, std::uint32_t rank, void* address, const std::uint64_t* extents,
                           const std::uint64_t* strides, const std::uint32_t* box, const std::uint32_t* steps,
                           int interleave, int swizzle, int, int oob_fill) {
  static constexpr int kBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4};
  constexpr int kFlushed = 10, kTf32 = 11;  // CUtensorMapDataType
  if (type < 0 || type > kTf32 || type == kFlushed || rank < 1 || rank > 5 || interleave != 0 || swizzle < 0 ||
      swizzle > 3 || oob_fill != 0) {
    return kInvalidValue;
  }
  TensorMapFields f = {};
  f.magic = TensorMapFields::kMagic;
  f.rank = static_cast<std::uint8_t>(rank);
  f.element_bytes = static_cast<std::uint8_t>(kBytes[type]);
  f.swizzle = static_cast<std::uint8_t>(swizzle);
  f.rounds_to_tf32 = type == kTf32;
  f.address = reinterpret_cast<std::uint64_t>(address);
  if (f.address % 16 != 0) return kInvalidValue;
  for (std::uint32_t d = 0; d < rank; ++d) {
    if (extents[d] == 0 || extents[d] > std::uint64_t{1} << 32 || box[d] == 0 || box[d] > 256 || steps[d] != 1)
      return kInvalidValue;
    f.last[d] = static_cast<std::uint32_t>(extents[d] - 1);
    f.box[d] = static_cast<std::uint16_t>(box[d]);
    f.stride_bytes[d] = d == 0 ? f.element_bytes : strides[d - 1];
    if (d > 0 && (f.stride_bytes[d] % 16 != 0 || f.stride_bytes[d] >= std::uint64_t{1} << 40)) return kInvalidValue;
  }
  const unsigned row_bytes = box[0] * f.element_bytes;
  if (row_bytes % 16 != 0 || (swizzle > 0 && row_bytes > 16u << swizzle)) return kInvalidValue;
  static_assert(sizeof f <= sizeof *map);
  std::memcpy(map, &f, sizeof f);
  return kOk;
}

}  // namespace

std::vector<EntryPoint> kernel_entry_points() {
  return {{"cuLibraryLoadData", address(load)},
          {"cuLibraryUnload", address(unload)},
          {"cuLibraryGetKernel", address(get_kernel)},
          {"cuKernelGetFunction", address(get_function)},
          {"cuKernelGetAttribute", address(get_attribute)},
          {"cuKernelSetAttribute", address(set_attribute)},
          {"cuLaunchKernelEx", address(launch_kernel)},
          {"cuOccupancyMaxActiveBlocksPerMultiprocessor", address(active_blocks)},
          {"cuOccupancyMaxActiveClusters", address(active_clusters)},
          {"cuTensorMapEncodeTiled", address(encode_tensor_map)}};
}

}  // namespace fovea::emulated
