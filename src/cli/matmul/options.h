// SPDX-License-Identifier: Apache-2.0
// A matrix product described on the command line. The same names in every command.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/problem_options.h"
#include "fovea/matmul.h"

namespace fovea::cli {

/// As typed. resolve turns it into what the library takes.
struct MatmulCommandOptions {
  std::vector<std::string> shapes;  // "4096x4096x4096": m x n x k; "8x512x512x64" with a batch before
  std::string dtype = "bf16";
  std::string out_dtype;  // default: dtype
  bool transpose_a = false;
  bool transpose_b = false;
  bool bias = false;
  std::string scale = "none";  // "tensor", "block"
  std::string activation = "none";
  std::string math = "exact";
  float alpha = 1.0f;
  float beta = 0.0f;
  std::vector<int> block_m, block_n, block_k;  // one of each, but for experiment
  std::string persistent = "auto";             // "yes", "no"
  std::uint64_t seed = 1;
  CallOptions machine;  // threads, isa, kernel
};

struct MatmulShape {
  int batch = 1;
  int m = 0, n = 0, k = 0;
};

/// One product: its shape, and views with null data.
struct MatmulCallShape {
  MatmulShape shape;
  DType dtype = DType::kBF16;
  MatmulTensors tensors;
  MatmulOptions options;
};

/// --shapes (several) or --shape (one), dtypes, orders, epilogue, tile, threads, isa, kernel, seed.
void add_matmul_options(CLI::App& command, MatmulCommandOptions& options);

/// Throw kInvalidArgument naming the option.
MatmulShape parse_matmul_shape(const std::string& text);
MatmulCallShape resolve_matmul(const MatmulCommandOptions& options, const MatmulShape& shape);
/// The shapes given, or `otherwise`.
std::vector<MatmulShape> resolve_shapes(const MatmulCommandOptions& options, const std::vector<MatmulShape>& otherwise);

/// "8x512x512x64", "4096x4096x4096".
std::string to_string(const MatmulShape& shape);

}  // namespace fovea::cli
