// SPDX-License-Identifier: Apache-2.0
// Starting a kernel: one cuLaunchKernelEx in the context of the caller's stream. No allocation, no synchronisation.
#pragma once

#include <cstdint>

#include "cuda/module.h"

namespace fovea::cuda {

struct LaunchConfig {
  std::int64_t blocks = 0;  // 1-D grid, at most 2^31 - 1; 0 launches nothing
  int threads = 0;
  int shared_bytes = 0;  // dynamic, at most what load_kernel was given
  int cluster = 1;       // blocks per cluster; blocks is a multiple of it
  /// Programmatic dependent launch: may start when the kernel ahead of it in the stream lets it
  /// (griddepcontrol.launch_dependents) or has ended. The kernel must then execute griddepcontrol.wait, which ends when
  /// the one ahead has, before it reads what that one wrote or overwrites what that one reads.
  bool programmatic = false;
};

/// Clusters of this launch that the GPU runs at the same time; blocks and stream do not matter.
int max_active_clusters(const Kernel& kernel, const LaunchConfig& config);

/// parameters points to one pointer per kernel parameter. Throws kCuda, or kInvalidArgument "stream" (context_of).
void launch_raw(const Kernel& kernel, const LaunchConfig& config, Stream stream, void** parameters);

/// Args must be the kernel's parameter types exactly.
template <typename... Args>
void launch(const Kernel& kernel, const LaunchConfig& config, Stream stream, const Args&... args) {
  void* parameters[sizeof...(Args) + 1] = {const_cast<void*>(static_cast<const void*>(&args))...};
  launch_raw(kernel, config, stream, parameters);
}

}  // namespace fovea::cuda
