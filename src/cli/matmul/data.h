// SPDX-License-Identifier: Apache-2.0
// The memory of a matrix product on a processor, with random numbers in it, the same on every machine for a seed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cli/matmul/options.h"

namespace fovea::cli {

class MatmulMemory {
 public:
  /// Memory behind the views of a call, filled. Throws std::bad_alloc where memory ends.
  MatmulMemory(const MatmulCallShape& call, std::uint64_t seed);
  const MatmulTensors& tensors() const { return tensors_; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  MatmulTensors tensors_;
  std::vector<std::unique_ptr<void, Free>> memory_;
};

}  // namespace fovea::cli
