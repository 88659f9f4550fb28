// SPDX-License-Identifier: Apache-2.0
// What ptxas says about the code it made.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fovea::jit {

struct Resources {
  int registers_per_thread = 0;
  int static_shared_bytes = 0;
  int stack_bytes = 0;  // per thread
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  friend bool operator==(const Resources&, const Resources&) = default;
};

/// Reads the lines of --ptxas-options=-v about this entry (functions that were not inlined count their spills and stack
/// in too). Throws kInternal if the log has no such lines: the compiler's format changed.
Resources parse_resources(std::string_view log, std::string_view entry);

/// The log's remarks that code was serialised or changed for warpgroup instructions (C7510 … C7519): none may be there.
std::vector<std::string> pipeline_remarks(std::string_view log);

}  // namespace fovea::jit
