// SPDX-License-Identifier: Apache-2.0
// Elements of tensors in double.
#pragma once

#include "fovea/types.h"

namespace fovea {

/// Element `index` of a tensor of this dtype, exact in double.
double load_element(const void* data, DType dtype, long long index);
/// value rounded to what the dtype can hold, as double.
double round_to(DType dtype, double value);

}  // namespace fovea
