// SPDX-License-Identifier: Apache-2.0
// d = activation(alpha a b + beta c + bias) on Hopper, a and b of 16 bits, of e4m3 or of TF32, fp32 sums.
// Roles: one thread of the first warpgroup fills a ring of stages through the copy engine (produce); each of the other
// one to three warpgroups multiplies its rows of the tile out of shared memory with wgmma (consume, in
// matmul_sm90_products.cuh; consume_promoting, in matmul_sm90_promotion.cuh, for e4m3) and stores them (store_…).
// Blocks stay and take tile after tile, so that loads of the next tile run under the stores of the last.
// Blocks of a cluster either share operands (cluster_m x cluster_n tiles; every block loads its share and multicasts
// it) or split k (splits): then partial tiles meet in shared memory and each block finishes a slice, in a fixed order.
// Operands of 16 bits may be contiguous along k or along m or n: the descriptors say which; the transposition costs
// nothing. e4m3 must be contiguous along k, and so must b of TF32, which is fp32 that the copy engine rounds on its
// way; a of TF32 that is contiguous along m is multiplied from registers (matmul_sm90_register_products.cuh).
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_sm90.h"
#include "contract/matmul_tiles.h"
#include "kernels/block/matmul_finish.cuh"
#include "kernels/matmul/matmul_sm90_load.cuh"
#include "kernels/matmul/matmul_sm90_products.cuh"
#include "kernels/matmul/matmul_sm90_promotion.cuh"
#include "kernels/matmul/matmul_sm90_register_products.cuh"
#include "kernels/matmul/matmul_sm90_shared_tiles.cuh"
#include "kernels/ptx/cluster.cuh"
#include "kernels/ptx/griddepcontrol.cuh"
#include "kernels/ptx/mbarrier.cuh"
#include "kernels/ptx/shared_address.cuh"
#include "kernels/ptx/stmatrix.cuh"
#include "kernels/ptx/tma.cuh"
#include "kernels/ptx/warpgroup.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

/// Through shared memory and the copy engine, 16 rows by a chunk of columns at a time: every warp for itself, so that
/// no warp waits for another. The swizzle is the map's.
template <MatmulConfig c>
__device__ void store_by_copy_engine(const MatmulArgs& args, const TensorMap& d_map, unsigned shared, int group,
                                     int thread, int row, int column, int batch,
                                     const float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  constexpr int kColumns = K::kLayout.store_columns, kChunks = kColumns / 8, kParts = c.block_n / kColumns;
  constexpr int kBuffers = K::kLayout.store_buffers;
  const MatmulOffsets from = matmul_offsets(args, batch);
  const BoxPlace place = batch_place(args, args.d_stride_batch, batch);
  const int lane = thread % 32, warp = thread / 32;
  const int tile_row = lane % 16;  // that this lane addresses
  const int flip = kChunks == 8 ? tile_row % 8 : tile_row / 2 % 4;
  const unsigned buffers = shared + K::kLayout.store + (4 * group + warp) * kBuffers * K::kLayout.store_bytes;
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) {
    const int first_row = row + 64 * (group * K::kBlocks + i) + 16 * warp;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const unsigned buffer = buffers + (i * kParts + part) % kBuffers * K::kLayout.store_bytes;
      if (lane == 0) cp_async_bulk_wait_group_read<kBuffers - 1>();
      __syncwarp();
#pragma unroll
      for (int j = 0; j < kColumns / 16; ++j) {
        const float* s = &sums[i][part * kColumns / 2 + 8 * j];
        const int pair_column = column + part * kColumns + 16 * j + 2 * (lane % 4);
        unsigned packed[4];
#pragma unroll
        for (int q = 0; q < 4; ++q) {
          packed[q] = finish_pair<c>(args, from, first_row + lane / 4 + q % 2 * 8, pair_column + q / 2 * 8, s[2 * q],
                                     s[2 * q + 1]);
        }
        stmatrix_x4(buffer + tile_row * (2 * kColumns) + ((2 * j + lane / 16) ^ flip) * 16, packed[0], packed[1],
                    packed[2], packed[3]);
      }
      fence_proxy_async();
      __syncwarp();
      if (lane == 0) {
        cp_async_bulk_tensor_5d_store(d_map, buffer, {column + part * kColumns, first_row, place.z, place.u, place.v});
        cp_async_bulk_commit_group();
      }
    }
  }
}

/// Neighbours among a thread's sums: along m where the same thread has them and d is contiguous so, else along n.
template <MatmulConfig c>
constexpr bool kPairsAlongM = matmul_sm90_a_in_registers(c) && MatmulSm90<c>::kAlongM;

/// This thread's sums, two neighbours at a time: f(row of the tile, column, first, second).
template <MatmulConfig c, typename F>
__device__ void for_each_pair(int group, int thread, const float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums],
                              F&& f) {
  using K = MatmulSm90<c>;
  constexpr int kEights = c.block_n / 8;
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) {
#pragma unroll
    for (int n = 0; n < 2 * kEights; ++n) {
      if constexpr (kPairsAlongM<c>) {
        const float* s = &sums[i][n / 2 * 4 + n % 2];
        f(K::row_of(group, i, thread, 0), n / 2 * 8 + thread % 4 * 2 + n % 2, s[0], s[2]);
      } else {
        const float* s = &sums[i][n % kEights * 4 + n / kEights * 2];  // row by row
        f(K::row_of(group, i, thread, n / kEights), n % kEights * 8 + thread % 4 * 2, s[0], s[1]);
      }
    }
  }
}

/// Straight from registers: any dtype, any strides.
template <MatmulConfig c>
__device__ void store_directly(const MatmulArgs& args, int group, int thread, int row, int column, int batch,
                               const float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  const MatmulOffsets from = matmul_offsets(args, batch);
  if constexpr (!kPairsAlongM<c>) {
    for_each_pair<c>(group, thread, sums, [&](int r, int at, float x, float y) {
      const float pair[2] = {x, y};
      store_finished<c, 2, false>(args, from, row + r, column + at, pair);
    });
  } else {
    // Column by column, from one place to the next: places that are computed apart would wait in registers.
    const int first = row + K::row_of(group, 0, thread, 0);
    int at = column + thread % 4 * 2;
    auto* d = static_cast<Element<c.d_dtype>*>(args.d) + from.d + first * args.d_stride_row + at * args.d_stride_col;
#pragma unroll
    for (int n = 0; n < c.block_n / 4; ++n) {
#pragma unroll
      for (int i = 0; i < K::kBlocks; ++i) {
        const int r = row + K::row_of(group, i, thread, 0);
        const float pair[2] = {sums[i][n / 2 * 4 + n % 2], sums[i][n / 2 * 4 + n % 2 + 2]};
        store_finished_at<c, 2, true>(args, from, d + (r - first) * args.d_stride_row, r, at, pair);
      }
      at += n % 2 == 0 ? 1 : 7;
      d += (n % 2 == 0 ? 1 : 7) * args.d_stride_col;
    }
  }
}

/// Where element (row, column) of a partial tile lies in shared memory; four neighbours in the order of the output.
template <MatmulConfig c>
__device__ unsigned partial_offset(int row, int column) {
  // The padding spreads the rows that one instruction writes over the banks.
  return 4u * (MatmulSm90<c>::kAlongM ? column * (c.block_m + 4) + row : row * (c.block_n + 8) + column);
}

/// Blocks of a cluster that split k: every partial tile into shared memory, then each block sums and stores a slice.
template <MatmulConfig c>
__device__ void write_partial(unsigned shared, int group, int thread,
                              const float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  auto* partial = static_cast<char*>(__cvta_shared_to_generic(shared));
  for_each_pair<c>(group, thread, sums, [&](int row, int column, float x, float y) {
    if constexpr (MatmulSm90<c>::kAlongM && !kPairsAlongM<c>) {
      *reinterpret_cast<float*>(partial + partial_offset<c>(row, column)) = x;
      *reinterpret_cast<float*>(partial + partial_offset<c>(row, column + 1)) = y;
    } else {
      *reinterpret_cast<float2*>(partial + partial_offset<c>(row, column)) = make_float2(x, y);
    }
  });
}

/// Place of element (row, column) among a tile's groups of four neighbours in the order of the output, times four.
template <MatmulConfig c>
__device__ int place_in_output(int row, int column) {
  return MatmulSm90<c>::kAlongM ? column * c.block_m + row : row * c.block_n + column;
}

/// The same for small tiles without a second barrier: every sum to the block that finishes it, which has a place for
/// each sender. That block waits for all of them, and nobody reads another's memory afterwards.
template <MatmulConfig c>
__device__ void push_sums(unsigned shared, int split, int group, int thread,
                          const float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  constexpr int kShare = matmul_sm90_share(c);
  const unsigned mine = shared + K::kLayout.partial + split * kShare * 16;
  const auto place = [&](int row, int column) {
    const int at = place_in_output<c>(row, column), owner = at / (4 * kShare);
    return mapa(mine, static_cast<unsigned>(owner)) + 4u * static_cast<unsigned>(at - owner * 4 * kShare);
  };
  for_each_pair<c>(group, thread, sums, [&](int row, int column, float x, float y) {
    if constexpr (K::kAlongM && !kPairsAlongM<c>) {
      st_shared_cluster(place(row, column), x);
      st_shared_cluster(place(row, column + 1), y);
    } else {
      st_shared_cluster_v2(place(row, column), x, y);
    }
  });
}

/// Finishes and stores what was pushed here.
template <MatmulConfig c>
__device__ void store_pushed(const MatmulArgs& args, unsigned shared, int split, int thread, int row, int column,
                             int batch) {
  using K = MatmulSm90<c>;
  constexpr int kRun = K::kAlongM ? c.block_m : c.block_n;
  constexpr int kFours = c.block_m * c.block_n / 4, kShare = matmul_sm90_share(c);
  const MatmulOffsets from = matmul_offsets(args, batch);
  const auto* pushed = static_cast<const char*>(__cvta_shared_to_generic(shared + K::kLayout.partial));
  for (int e = thread; e < kShare; e += K::kConsumers) {
    const int four = split * kShare + e;
    if (four >= kFours) break;
    const int along = four % (kRun / 4) * 4, across = four / (kRun / 4);
    const int r = K::kAlongM ? along : across, col = K::kAlongM ? across : along;
    if (row + r >= args.m || column + col >= args.n) continue;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < K::kSplits; ++i) {
      const float4 x = *reinterpret_cast<const float4*>(pushed + (i * kShare + e) * 16);
      sum[0] += x.x, sum[1] += x.y, sum[2] += x.z, sum[3] += x.w;
    }
    store_finished<c, 4, K::kAlongM>(args, from, row + r, column + col, sum);
  }
}

template <MatmulConfig c>
__device__ void store_slice(const MatmulArgs& args, unsigned shared, int split, int thread, int row, int column,
                            int batch) {
  using K = MatmulSm90<c>;
  constexpr int kRun = MatmulSm90<c>::kAlongM ? c.block_m : c.block_n;  // along which the output is contiguous
  constexpr int kFours = c.block_m * c.block_n / 4;
  constexpr int kShare = (kFours + K::kSplits - 1) / K::kSplits;
  const MatmulOffsets from = matmul_offsets(args, batch);
  unsigned peers[K::kSplits];
#pragma unroll
  for (int i = 0; i < K::kSplits; ++i) peers[i] = mapa(shared, static_cast<unsigned>(i));
  for (int e = thread; e < kShare; e += K::kConsumers) {
    const int four = split * kShare + e;
    if (four >= kFours) break;
    const int along = four % (kRun / 4) * 4, across = four / (kRun / 4);
    const int r = MatmulSm90<c>::kAlongM ? along : across, col = MatmulSm90<c>::kAlongM ? across : along;
    if (row + r >= args.m || column + col >= args.n) continue;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < K::kSplits; ++i) {
      const float4 x = ld_shared_cluster_v4(peers[i] + partial_offset<c>(r, col));
      sum[0] += x.x, sum[1] += x.y, sum[2] += x.z, sum[3] += x.w;
    }
    store_finished<c, 4, MatmulSm90<c>::kAlongM>(args, from, row + r, column + col, sum);
  }
}

template <MatmulConfig c>
__device__ void matmul_sm90(const MatmulArgs& args, const TensorMap& a_map, const TensorMap& b_map,
                            const TensorMap& d_map) {
  using K = MatmulSm90<c>;
  extern __shared__ __align__(1024) char dynamic_shared[];
  const unsigned shared = (shared_address(dynamic_shared) + 1023u) & ~1023u;
  const int thread = static_cast<int>(threadIdx.x) % 128;
  const int group = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 128, 0) - 1;  // -1 produces
  if (threadIdx.x == 0) {
    prefetch_tensormap(a_map);
    prefetch_tensormap(b_map);
    for (int i = 0; i < c.stages; ++i) {
      mbarrier_init(shared + K::kLayout.full + 8 * i, 1);
      mbarrier_init(shared + K::kLayout.empty + 8 * i, K::kWarpgroups * K::kReleases * (c.cluster_m + c.cluster_n - 1));
    }
    fence_mbarrier_init();
  }
  constexpr int kThreads = 128 + K::kConsumers;
  constexpr bool kIsCluster = K::kCluster > K::kSplits;  // its blocks arrive and write here
  __syncwarp();
  if constexpr (kIsCluster) {
    barrier_cluster_arrive_relaxed();
  } else if (group < 0) {
    bar_arrive(1, kThreads);  // the thread that will produce made the barriers: it need not wait for the others
  } else {
    bar_sync(1, kThreads);
  }
  griddepcontrol_wait();  // what is above overlaps the kernel before this one
  int ordered = 0;        // of the first tile's steps
  if (!K::kShares && threadIdx.x == 0) ordered = begin_loads<c>(args, a_map, b_map, shared);
  __syncwarp();
  if constexpr (kIsCluster) barrier_cluster_wait();
  const MatmulWork<c> work(args);
  typename MatmulWork<c>::Place at = work.begin(args);
  MatmulSteps steps;
  RingPlace<c.stages> place;
  if (group < 0) {
    if constexpr (K::kWarpgroups == 2) setmaxnreg_dec<40>();
    if constexpr (K::kWarpgroups == 3) setmaxnreg_dec<40>();
    place.skip(ordered);
    while (work.take(at, steps)) {
      if constexpr (K::kPushes) barrier_cluster_arrive_relaxed();
      if (thread == 0) {
        steps.begin += ordered;
        ordered = 0;
        produce<c>(args, a_map, b_map, work, steps, shared, place);
      }
      if constexpr (K::kSplits > 1) {
        __syncwarp();
        if constexpr (K::kPushes) {
          barrier_cluster_wait();
        } else {
          barrier_cluster();  // partial tiles are written
        }
        barrier_cluster();  // … and read; or pushed
      }
    }
    __syncwarp();
  } else {
    if constexpr (K::kWarpgroups == 2) setmaxnreg_inc<232>();
    if constexpr (K::kWarpgroups == 3) setmaxnreg_inc<152>();
    if (K::kStoresByTma && threadIdx.x == 128) prefetch_tensormap(d_map);
    while (work.take(at, steps)) {
      if constexpr (K::kPushes) barrier_cluster_arrive_relaxed();
      const MatmulTilePlace tile = tile_at(args.schedule, steps.index, c.has_batch);
      const int row = work.row_of(tile), column = work.column_of(tile);
      float sums[K::kBlocks][K::kSums];
      if constexpr (kPromotes<c>) {
        consume_promoting<c>(args, work, steps, shared, group, thread, row, column, tile.batch, place, sums);
      } else if constexpr (K::kRegisterA) {
        consume_from_registers<c>(work, steps, shared, group, thread, place, sums);
      } else {
        consume<c>(work, steps, shared, group, thread, place, sums);
      }
      if constexpr (K::kShares) {
        if (steps.end < work.steps) {
          send_sums<c>(args, group, thread, sums);
          continue;
        }
        if (steps.begin > 0) add_sent_sums<c>(args, work, steps, group, thread, sums);
      }
      if constexpr (K::kPushes) {
        barrier_cluster_wait();  // all blocks run, and have finished the sums of the tile before
        push_sums<c>(shared, work.split, group, thread, sums);
        barrier_cluster();
        store_pushed<c>(args, shared, work.split, group * 128 + thread, row, column, tile.batch);
      } else if constexpr (K::kSplits > 1) {
        bar_sync(1, K::kConsumers);  // nobody reads the stages any more
        write_partial<c>(shared, group, thread, sums);
        barrier_cluster();
        store_slice<c>(args, shared, work.split, group * 128 + thread, row, column, tile.batch);
        fence_proxy_async();  // the next tile's loads write where this one's partial tile was
        barrier_cluster();
      } else if constexpr (K::kStoresByTma) {
        store_by_copy_engine<c>(args, d_map, shared, group, thread, row, column, tile.batch, sums);
      } else {
        store_directly<c>(args, group, thread, row, column, tile.batch, sums);
      }
    }
    if constexpr (K::kStoresByTma) {
      if (thread % 32 == 0) cp_async_bulk_wait_group_read<0>();
    }
  }
  // Blocks of the cluster may still write into this one's shared memory.
  if constexpr (K::kCluster > K::kSplits) barrier_cluster_relaxed();
}

}  // namespace fovea
