// SPDX-License-Identifier: Apache-2.0
#include "attention/kernels.h"

namespace fovea {

std::span<const AttentionKernel* const> attention_kernels() {
  // Read top to bottom. Where two could do it, the earlier one says in its supports() when it yields.
  static constexpr const AttentionKernel* kKernels[] = {
      &attention_forward_sm90,
      &attention_forward_sm80,
      &attention_forward_fp32,
      &attention_forward_cpu,
  };
  return kKernels;
}

}  // namespace fovea
