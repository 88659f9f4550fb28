// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/describe_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fovea::fuzz::describe_bytes(std::as_bytes(std::span(data, size)));
  return 0;
}
