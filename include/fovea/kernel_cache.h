// SPDX-License-Identifier: Apache-2.0
// Compiled GPU kernels: the cache on disk, and compiling ahead for machines that have no compiler.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fovea/export.h"
#include "fovea/runtime.h"

namespace fovea {

struct CachedKernel {
  std::string path;
  std::string kernel;        // "attention_forward_sm80"
  std::string architecture;  // "sm_90a"
  std::string config;
  std::string nvrtc;  // version that compiled it
  int registers_per_thread = 0;
  std::int64_t bytes = 0;
  double age_seconds = 0;  // since it was last used, to a day
  std::string fault;       // why it will not be used; empty if it is whole
};

struct CacheChange {
  int removed = 0;
  std::int64_t removed_bytes = 0;
  int kept = 0;
  std::int64_t kept_bytes = 0;
};

/// Every entry, each checked against its checksum, newest first.
FOVEA_API std::vector<CachedKernel> list_kernel_cache(Runtime& runtime);

/// Removes damaged entries, those not used for max_age_days, and the least recently used over max_bytes.
FOVEA_API CacheChange prune_kernel_cache(Runtime& runtime, std::optional<std::int64_t> max_bytes,
                                         std::optional<double> max_age_days);

FOVEA_API CacheChange clear_kernel_cache(Runtime& runtime);

/// Compiles the kernels of the usual attention calls for each architecture ("sm_80", "sm_90a" …) into folder, one file
/// per kernel; what the cache has already is copied. No GPU takes part. A runtime whose FOVEA_PREBUILT names the folder
/// finds them before it looks for NVRTC. They serve this version of the library and no other. Throws kInvalidArgument
/// for an unknown architecture, kCompile if NVRTC is absent or too old for one.
FOVEA_API std::vector<CachedKernel> prebuild_attention(Runtime& runtime, const std::vector<std::string>& architectures,
                                                       const std::string& folder);

}  // namespace fovea
