// SPDX-License-Identifier: Apache-2.0
#include "matmul/cpu_parts.h"

#include <initializer_list>

namespace fovea {

MatmulArgs rows_from(const MatmulArgs& args, const MatmulConfig& config, int row, int count) {
  MatmulArgs part = args;
  part.m = count;
  if (part.a_scale.data) part.a_scale.data += row / config.a_scale_lines * part.a_scale.stride_line;
  part.a.data = element_at(args.a.data, row * args.a.stride_row, config.dtype);
  part.c.data = element_at(args.c.data, row * args.c.stride_row, config.c_dtype);
  part.d = const_cast<void*>(element_at(args.d, row * args.d_stride_row, config.d_dtype));
  if (config.bias == BiasKind::kPerRow) part.bias = element_at(args.bias, row * args.bias_stride, config.bias_dtype);
  return part;
}

MatmulArgs columns_from(const MatmulArgs& args, const MatmulConfig& config, int column, int count) {
  MatmulArgs part = args;
  part.n = count;
  if (part.b_scale.data) part.b_scale.data += column / config.b_scale_lines * part.b_scale.stride_line;
  part.b.data = element_at(args.b.data, column * args.b.stride_col, config.dtype);
  part.c.data = element_at(args.c.data, column * args.c.stride_col, config.c_dtype);
  part.d = const_cast<void*>(element_at(args.d, column * args.d_stride_col, config.d_dtype));
  if (config.bias == BiasKind::kPerColumn) {
    part.bias = element_at(args.bias, column * args.bias_stride, config.bias_dtype);
  }
  return part;
}

MatmulArgs product_at(const MatmulArgs& args, const MatmulConfig& config, int batch) {
  MatmulArgs part = args;
  part.a.data = element_at(args.a.data, batch_offset(args, args.a.stride_batch, batch), config.dtype);
  part.b.data = element_at(args.b.data, batch_offset(args, args.b.stride_batch, batch), config.dtype);
  part.c.data = element_at(args.c.data, batch_offset(args, args.c.stride_batch, batch), config.c_dtype);
  part.d = const_cast<void*>(element_at(args.d, batch_offset(args, args.d_stride_batch, batch), config.d_dtype));
  for (ScaleArgs* scale : {&part.a_scale, &part.b_scale}) {
    if (scale->data) scale->data += batch_offset(args, scale->stride_batch, batch);
  }
  part.batch = 1;
  for (int& size : part.batch_sizes) size = 1;
  return part;
}

}  // namespace fovea
