// SPDX-License-Identifier: Apache-2.0
// Tiles of matmul_sm90 whose steps of k several blocks share (stream-K): the block that has the last steps adds up and
// stores the tile, the others send it their sums through the workspace. Always in the same order.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_tiles.h"
#include "kernels/matmul/matmul_sm90_products.cuh"
#include "kernels/ptx/flag.cuh"

namespace fovea {

/// Sums that a block sends: four neighbouring registers of a thread, then the threads of a warpgroup.
template <MatmulConfig c>
__device__ float4* sent_sums(const MatmulArgs& args, int block, int group, int thread) {
  using K = MatmulSm90<c>;
  constexpr int kOfGroup = K::kBlocks * K::kSums * 128;
  float* sums = args.schedule.partial + static_cast<Int64>(block) * (c.block_m * c.block_n) + group * kOfGroup;
  return reinterpret_cast<float4*>(sums) + thread;
}

template <MatmulConfig c>
__device__ int* sent_flag(const MatmulArgs& args, int block, int group, int thread) {
  return args.schedule.sent + block * c.warps + group * 4 + thread / 32;
}

/// To the block after this one. A block sends once: from the tile that its steps end in.
template <MatmulConfig c>
__device__ void send_sums(const MatmulArgs& args, int group, int thread,
                          const float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  const int block = static_cast<int>(blockIdx.x);
  float4* to = sent_sums<c>(args, block, group, thread);
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) {
#pragma unroll
    for (int j = 0; j < K::kSums / 4; ++j) {
      const float* s = &sums[i][4 * j];
      to[(i * K::kSums / 4 + j) * 128] = make_float4(s[0], s[1], s[2], s[3]);
    }
  }
  __syncwarp();
  if (thread % 32 == 0) st_release_gpu(sent_flag<c>(args, block, group, thread), 1);
}

/// Adds what the blocks before this one have sent of the tile, the nearest first. They began with it, so it is rarely
/// waited for; and as blocks start in order, a block that is waited for has started.
template <MatmulConfig c>
__device__ void add_sent_sums(const MatmulArgs& args, const MatmulWork<c>& work, const MatmulSteps& steps, int group,
                              int thread, float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  const int tile_begin = steps.index * work.steps;
  const int rank = static_cast<int>(blockIdx.x) - work.cluster * K::kCluster;
  int cluster = work.cluster;
  do {
    --cluster;
    const int block = cluster * K::kCluster + rank;
    int* flag = sent_flag<c>(args, block, group, thread);
    if (thread % 32 == 0) {
      while (ld_acquire_gpu(flag) == 0) {
      }
    }
    __syncwarp();
    const float4* from = sent_sums<c>(args, block, group, thread);
#pragma unroll
    for (int i = 0; i < K::kBlocks; ++i) {
#pragma unroll
      for (int j = 0; j < K::kSums / 4; ++j) {
        const float4 x = from[(i * K::kSums / 4 + j) * 128];
        float* s = &sums[i][4 * j];
        s[0] += x.x, s[1] += x.y, s[2] += x.z, s[3] += x.w;
      }
    }
    __syncwarp();
    if (thread % 32 == 0) *flag = 0;
  } while (shared_steps_before(args.schedule, work.steps, cluster, work.clusters) > tile_begin);
}

}  // namespace fovea
