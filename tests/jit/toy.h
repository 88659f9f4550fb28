// SPDX-License-Identifier: Apache-2.0
// A small kernel for the tests of the compiler: a source folder in the shape of Fovea's, and a unit of it.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "jit/compiler.h"

namespace fovea::jit {

/// A temporary folder with kernels/, contract/ and include/, removed at the end.
class ToyFolder {
 public:
  ToyFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-toy-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    root = name;
    write("include/fovea/types.h", "#pragma once\nnamespace fovea { enum class DType { kF32, kF16 }; }\n");
    write("contract/toy_config.h",
          "#pragma once\n#include \"fovea/types.h\"\n"
          "namespace fovea { struct ToyConfig { DType dtype; int factor; }; }\n");
    write("contract/unrelated.h", "#pragma once\n");
    write("kernels/toy.cuh",
          "#pragma once\n#include \"contract/toy_config.h\"\n"
          "namespace fovea { template <ToyConfig config> __device__ void toy(float* x) {\n"
          "  __shared__ float shared[256];\n"
          "  shared[threadIdx.x] = x[threadIdx.x]; __syncthreads();\n"
          "  x[threadIdx.x] = config.factor * shared[255 - threadIdx.x];\n"
          "} }\n");
  }
  ~ToyFolder() {
    std::error_code error;
    std::filesystem::remove_all(root, error);
  }
  ToyFolder(const ToyFolder&) = delete;
  ToyFolder& operator=(const ToyFolder&) = delete;

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = std::filesystem::path(root) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  static Unit unit(int factor = 2) {
    return {.entry = "toy",
            .header = "kernels/toy.cuh",
            .config = "ToyConfig{.dtype = DType::kF16, .factor = " + std::to_string(factor) + "}",
            .parameters = "float* x",
            .body = "toy<config>(x);",
            .threads = 256};
  }

  /// Options that read these texts and keep the cache in this folder.
  CompilerOptions options() const {
    CompilerOptions options = compiler_options(read_settings());
    options.kernel_dir = root;
    options.cache_dir = root + "/cache";
    return options;
  }

  std::string root;
};

}  // namespace fovea::jit
