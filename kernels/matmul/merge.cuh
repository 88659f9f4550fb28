// SPDX-License-Identifier: Apache-2.0
// Adds up the partial sums of a product whose k was split among blocks, in the order of k, and finishes them. A thread
// takes four columns of one row.
#pragma once

#include "kernels/block/matmul_finish.cuh"

namespace fovea {

template <MatmulConfig c>
__device__ void matmul_merge(const MatmulArgs& args) {
  const Int64 fours = (args.n + 3) / 4;
  const Int64 index = static_cast<Int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  const Int64 line = index / fours;  // row of the whole batch
  if (line >= static_cast<Int64>(args.batch) * args.m) return;
  const int column = static_cast<int>(index - line * fours) * 4;
  const int batch = static_cast<int>(line / args.m), row = static_cast<int>(line % args.m);
  const Int64 each = static_cast<Int64>(args.batch) * args.m * args.n;
  const float* from = args.schedule.partial + line * args.n + column;
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (args.n % 4 == 0) {
#pragma unroll 4
    for (int split = 0; split < args.schedule.num_splits; ++split) {
      const float4 x = *reinterpret_cast<const float4*>(from + split * each);
      sum[0] += x.x, sum[1] += x.y, sum[2] += x.z, sum[3] += x.w;
    }
  } else {
    for (int split = 0; split < args.schedule.num_splits; ++split) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (column + i < args.n) sum[i] += from[split * each + i];
      }
    }
  }
  store_finished<c, 4, false>(args, matmul_offsets(args, batch), row, column, sum);
}

}  // namespace fovea
