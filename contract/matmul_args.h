// SPDX-License-Identifier: Apache-2.0
// The run-time half of how a matrix product is computed: d = activation(alpha * a b + beta * c + bias), batched.
// Strides count elements; every offset outside a tile is 64-bit. A batch of up to three leading dimensions stays as it
// is in the user's tensors: an operand that is shared along one of them has stride 0 there.
#pragma once

#include "contract/divisor.h"
#include "contract/host_device.h"

namespace fovea {

inline constexpr int kMatmulBatchDims = 3;

/// An input matrix and its copies along the batch.
struct MatrixArgs {
  const void* data = nullptr;
  Int64 stride_row = 0, stride_col = 0;
  Int64 stride_batch[kMatmulBatchDims] = {};
};

/// Factors of the elements of a (then "line" is a row) or of b (a column).
enum class ScaleKind : unsigned char {
  kNone,
  kPerTensor,  // one number each for a and b, either may be absent
  kPerBlock,   // one number for every kScaleBlock elements along k, of each row of a and of kScaleBlock columns of b
};
inline constexpr int kScaleBlock = 128;

struct ScaleArgs {
  const float* data = nullptr;  // null where absent: 1
  Int64 stride_line = 0, stride_k = 0;
  Int64 stride_batch[kMatmulBatchDims] = {};
};

/// How the tiles of d are shared out among blocks; GPU kernels only. Filled by the host twin of a kernel.
struct MatmulSchedule {
  int tiles_m = 0, tiles_n = 0;
  int group_m = 1;  // rows of tiles that are walked together, so that b stays in the L2 cache
  Divisor of_product, of_group, of_rows, of_last_rows;  // by their tiles (set_tiles): tile_at is before the first load
  int num_splits = 1;                                   // of k
  int k_per_split = 0;                                  // a multiple of block_k
  Int64 num_tiles = 0;                                  // tiles_m * tiles_n * batch * num_splits
  float* partial = nullptr;                             // (num_splits, batch, m, n) fp32, contiguous, where k is split
  // Stream-K (matmul_sm90): the first shared_tiles tiles are no block's own, all blocks share their steps of k evenly
  // (shared_steps_before). partial then has a tile of fp32 sums per block; sent one flag per block and warp that
  // multiplies, zero before and after the launch: its sums are there.
  int shared_tiles = 0;
  int* sent = nullptr;
};

struct MatmulArgs {
  MatrixArgs a;  // (m, k)
  MatrixArgs b;  // (k, n)
  MatrixArgs c;  // (m, n); data is null where the config has no c
  void* d = nullptr;
  Int64 d_stride_row = 0, d_stride_col = 0;
  Int64 d_stride_batch[kMatmulBatchDims] = {};
  const void* bias = nullptr;  // one number per column of d, or per row (config.bias)
  Int64 bias_stride = 0;
  int m = 0, n = 0, k = 0;
  int batch_sizes[kMatmulBatchDims] = {1, 1, 1};  // outermost first
  int batch = 1;                                  // their product
  ScaleArgs a_scale, b_scale;
  float alpha = 1.0f;
  float beta = 0.0f;
  MatmulSchedule schedule;
};

/// Element offset of copy `index` (0 to batch - 1) of an operand with these batch strides.
HOST_DEVICE constexpr Int64 batch_offset(const MatmulArgs& args, const Int64 (&stride)[kMatmulBatchDims], int index) {
  const int inner = index % args.batch_sizes[2];
  const int outer = index / args.batch_sizes[2];
  return inner * stride[2] + outer % args.batch_sizes[1] * stride[1] + outer / args.batch_sizes[1] * stride[0];
}

}  // namespace fovea
