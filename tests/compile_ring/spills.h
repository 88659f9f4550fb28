// SPDX-License-Identifier: Apache-2.0
// Spills that a kernel's header allows, each with its reason. A line of the kernel's text of this form:
//   // Spills: attention_forward_sm80 | sm_75 | .head_dim_qk = 512 | 64 bytes | the ring of keys leaves 190 registers
// The third part is any piece of the config as the unit spells it; "*" for the architecture or the config means all.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jit/texts.h"

namespace fovea {

struct AllowedSpill {
  std::string entry, architecture, config_part;
  int bytes = 0;
  std::string reason;
};

/// Throws kInternal for a line that starts with "// Spills:" and is not of this form.
std::vector<AllowedSpill> allowed_spills(const jit::Texts& texts);

/// The most that any line allows this kernel; 0 if none speaks of it.
int allowed_spill_bytes(const std::vector<AllowedSpill>& allowed, std::string_view entry, std::string_view architecture,
                        std::string_view config);

}  // namespace fovea
