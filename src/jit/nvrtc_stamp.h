// SPDX-License-Identifier: Apache-2.0
// Which NVRTC this machine has, remembered beside the cache: loading the 110 MB library just to learn its version would
// cost 5 to 60 ms of every process that finds its kernels on disk.
#pragma once

#include <optional>
#include <string>

#include "jit/nvrtc.h"

namespace fovea::jit {

/// The version noted in folder for this search, if the library file is still the same (path, size, time of change).
std::optional<std::string> read_nvrtc_stamp(const std::string& folder, const NvrtcSearch& search);

/// Notes the version of an opened NVRTC; does nothing if the folder does not take it.
void write_nvrtc_stamp(const std::string& folder, const NvrtcSearch& search, const Nvrtc& nvrtc);

}  // namespace fovea::jit
