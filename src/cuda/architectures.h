// SPDX-License-Identifier: Apache-2.0
// What is known of each GPU architecture without a GPU: for planning, explaining and compiling ahead. Numbers per
// architecture are from the CUDA C++ Programming Guide, "Compute Capabilities"; numbers per board (SMs, L2, memory,
// clocks) are those of the data-center or largest consumer part named in the entry.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/device_info.h"

namespace fovea::cuda {

/// sm_75, 80, 86, 87, 89, 90a, 100a, 103a, 120a, 121a; is_present is false in each.
std::span<const DeviceInfo> known_architectures();

/// By NVRTC's name; the letter may be left out ("sm_90" finds sm_90a).
std::optional<DeviceInfo> known_architecture(std::string_view name);

/// As above. Throws kInvalidArgument with the list of names for an unknown one.
DeviceInfo require_architecture(std::string_view name);

/// NVRTC's name for a compute capability: 80 -> "sm_80", 90 -> "sm_90a", 120 -> "sm_120a".
std::string architecture_name(int compute_capability);

/// Sets the has_… flags from info.compute_capability.
void set_features(DeviceInfo& info);

}  // namespace fovea::cuda
