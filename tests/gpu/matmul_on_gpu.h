// SPDX-License-Identifier: Apache-2.0
// Matrix products of the case table on the GPU.
#pragma once

#include <string>
#include <vector>

#include "plan/matmul_plan.h"
#include "tests/gpu/gpu.h"
#include "tests/support/matmul_cases.h"

namespace fovea::testing {

/// A dtype of a and b, and how they may be multiplied.
struct Kind {
  DType dtype;
  Math math = Math::kExact;
  ScaleKind scale = ScaleKind::kNone;
};
std::string name_of_kind(const Kind& kind);

/// Of small integers and with d of a type that holds their sums: any difference is a fault. All row-major.
MatmulCase exact_product(const Kind& kind, int m, int n, int k);

/// The tensors of a case, guards included, on GPU 0.
class DeviceMatmul {
 public:
  explicit DeviceMatmul(MatmulData& data);
  MatmulTensors tensors() const { return tensors_; }
  /// Brings every byte back into the host tensors.
  void fetch();

 private:
  MatmulTensors tensors_;
  std::vector<HostTensor*> hosts_;
  std::vector<DeviceCopy> copies_;
};

/// Whether the card computes the case on this GPU.
bool takes(const MatmulKernel& card, const MatmulCase& c);

/// One test for every case of the table and every GPU card that takes it, judged by the float64 reference.
void register_matmul_cases();

}  // namespace fovea::testing
