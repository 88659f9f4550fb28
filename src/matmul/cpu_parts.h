// SPDX-License-Identifier: Apache-2.0
// Parts of a matrix product on a CPU: calls of their own.
#pragma once

#include "contract/dtype.h"
#include "contract/matmul_args.h"
#include "contract/matmul_config.h"

namespace fovea {

inline const void* element_at(const void* data, Int64 index, DType dtype) {
  return static_cast<const char*>(data) + index * size_bytes(dtype);
}

/// `count` rows of d from `row` on, with their scales and bias.
MatmulArgs rows_from(const MatmulArgs& args, const MatmulConfig& config, int row, int count);
/// `count` columns of d from `column` on. With scales per block, `column` is a multiple of kScaleBlock.
MatmulArgs columns_from(const MatmulArgs& args, const MatmulConfig& config, int column, int count);
/// One product of the batch.
MatmulArgs product_at(const MatmulArgs& args, const MatmulConfig& config, int batch);

}  // namespace fovea
