// SPDX-License-Identifier: Apache-2.0
#include "matmul/kernels.h"

namespace fovea {

std::span<const MatmulKernel* const> matmul_kernels() {
  // Read top to bottom. Where two could do it, the earlier one says in its supports(), or pays(), when it yields.
  static constexpr const MatmulKernel* kKernels[] = {
      &matmul_sm90,
      &matmul_sm80,
      &matmul_fp32,
      &matmul_cpu,
  };
  return kKernels;
}

}  // namespace fovea
