// SPDX-License-Identifier: Apache-2.0
#include "jit/unit.h"

#include <fmt/format.h>

namespace fovea::jit {

std::string Unit::source() const {
  return fmt::format(
      "{}#include \"{}\"\n"
      "namespace fovea {{\n"
      "inline constexpr auto config = {};\n"
      "extern \"C\" __global__ void __launch_bounds__({}, {}) {}({}) {{\n"
      "  {}\n"
      "}}\n"
      "}}  // namespace fovea\n",
      defines, header, config, threads, min_blocks_per_sm, entry, parameters, body);
}

}  // namespace fovea::jit
