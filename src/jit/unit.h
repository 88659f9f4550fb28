// SPDX-License-Identifier: Apache-2.0
// The translation unit that NVRTC compiles: an include, a config by name, and an extern "C" entry around the template.
// Knows no operation: the card gives the words.
#pragma once

#include <string>

namespace fovea::jit {

struct Unit {
  std::string entry;       // the kernel's name: file, symbol and cache agree: "attention_forward_sm80"
  std::string header;      // "kernels/attention/forward_sm80.cuh"
  std::string defines;     // what the header's preprocessor shall know: "#define X 1\n"; mostly nothing
  std::string config;      // "AttentionConfig{.dtype = DType::kBF16, .head_dim_qk = 128}"
  std::string parameters;  // "const __grid_constant__ AttentionArgs args"
  std::string body;        // "attention_forward<config>(args);"
  int threads = 0;         // per block: __launch_bounds__, so that the register limit is known to the compiler
  int min_blocks_per_sm = 1;

  std::string source() const;
};

}  // namespace fovea::jit
