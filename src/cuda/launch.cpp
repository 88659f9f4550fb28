// SPDX-License-Identifier: Apache-2.0
#include "cuda/launch.h"

#include <limits>

#include "base/check.h"

namespace fovea::cuda {
namespace {

unsigned fill_attributes(CUlaunchAttribute (&attributes)[2], const LaunchConfig& config) {
  unsigned n = 0;
  if (config.cluster > 1) {
    attributes[n].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attributes[n++].value.clusterDim = {static_cast<unsigned>(config.cluster), 1, 1};
  }
  if (config.programmatic) {
    attributes[n].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attributes[n++].value.programmaticStreamSerializationAllowed = 1;
  }
  return n;
}

CUlaunchConfig native_config(const LaunchConfig& config, CUlaunchAttribute (&attributes)[2]) {
  CUlaunchConfig native = {};
  native.gridDimX = static_cast<unsigned>(config.blocks);
  native.gridDimY = native.gridDimZ = 1;
  native.blockDimX = static_cast<unsigned>(config.threads);
  native.blockDimY = native.blockDimZ = 1;
  native.sharedMemBytes = static_cast<unsigned>(config.shared_bytes);
  native.attrs = attributes;
  native.numAttrs = fill_attributes(attributes, config);
  return native;
}

}  // namespace

int max_active_clusters(const Kernel& kernel, const LaunchConfig& config) {
  const Driver& driver = *kernel.device.driver;
  const ScopedContext scope(kernel.device);
  CUlaunchAttribute attributes[2] = {};
  const CUlaunchConfig native = native_config(config, attributes);
  int clusters = 0;
  driver.check(driver.api.cuOccupancyMaxActiveClusters(&clusters, kernel.function, &native),
               "cuOccupancyMaxActiveClusters", kernel.name);
  return clusters;
}

void launch_raw(const Kernel& kernel, const LaunchConfig& config, Stream stream, void** parameters) {
  if (config.blocks == 0) return;
  check(config.blocks > 0 && config.blocks <= std::numeric_limits<int>::max(), ErrorCode::kUnsupported, "grid",
        "{} would need {} blocks, a grid has at most 2^31 - 1; split the batch", kernel.name, config.blocks);
  check(config.shared_bytes <= kernel.dynamic_shared_bytes, ErrorCode::kInternal, "",
        "{} is launched with {} bytes of shared memory, loaded for {}", kernel.name, config.shared_bytes,
        kernel.dynamic_shared_bytes);
  const Driver& driver = *kernel.device.driver;
  const CUcontext context = context_of(kernel.device, stream);
  const ScopedContext scope(driver, context);
  CUlaunchAttribute attributes[2] = {};
  CUlaunchConfig native = native_config(config, attributes);
  native.hStream = static_cast<CUstream>(stream.handle);
  // A CUkernel may stand for a CUfunction: the driver then looks up the function of the stream's context.
  const CUfunction function =
      context == kernel.device.primary ? kernel.function : reinterpret_cast<CUfunction>(kernel.kernel);
  const CUresult result = driver.api.cuLaunchKernelEx(&native, function, parameters, nullptr);
  if (result != CUDA_SUCCESS) [[unlikely]]
    driver.raise(result, "cuLaunchKernelEx", kernel.name);
}

}  // namespace fovea::cuda
