// SPDX-License-Identifier: Apache-2.0
// The loading half of matmul_sm90: one thread orders stages of both operands from the copy engine.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_sm90.h"
#include "contract/matmul_tiles.h"
#include "kernels/matmul/matmul_sm90_products.cuh"
#include "kernels/ptx/mbarrier.cuh"
#include "kernels/ptx/tma.cuh"

namespace fovea {

/// The matrix of this batch index in a tensor map of five dimensions; one that is shared along a dimension has no
/// others.
__device__ inline BoxPlace batch_place(const MatmulArgs& args, const Int64 (&stride)[kMatmulBatchDims], int batch) {
  const int inner = batch % args.batch_sizes[2], outer = batch / args.batch_sizes[2];
  return {0, 0, stride[2] ? inner : 0, stride[1] ? outer % args.batch_sizes[1] : 0,
          stride[0] ? outer / args.batch_sizes[1] : 0};
}

/// Loads one of `sharers` equal shares of an operand's tile: `rows` along m or n from `first`, 128 bytes along k from
/// k_first. is_multicast: blocks has a bit for each block of the cluster that gets it; else it is for this one only.
template <int rows, int panel, bool is_mn_major, int sharers, bool is_multicast>
__device__ void load_share(unsigned tile, const TensorMap& map, unsigned barrier, int k_first, int first,
                           const BoxPlace& batch, int share, unsigned short blocks) {
  const auto load = [&](unsigned shared, int x, int y) {
    const BoxPlace at = {x, y, batch.z, batch.u, batch.v};
    if constexpr (is_multicast) {
      cp_async_bulk_tensor_5d_multicast(shared, map, barrier, at, blocks);
    } else {
      cp_async_bulk_tensor_5d(shared, map, barrier, at);
    }
  };
  if constexpr (is_mn_major) {
    constexpr int kPanels = (rows + panel - 1) / panel / sharers;
#pragma unroll
    for (int i = 0; i < kPanels; ++i) {
      const int at = share * kPanels + i;
      load(tile + at * (panel * 128), first + panel * at, k_first);
    }
  } else {
    constexpr int kRows = rows / sharers;
    load(tile + share * kRows * 128, k_first, first + share * kRows);
  }
}

/// What one thread loads of a tile, for every step of k.
template <MatmulConfig c>
struct MatmulLoads {
  using K = MatmulSm90<c>;
  const TensorMap& a_map;
  const TensorMap& b_map;
  int rank_m, rank_n, row, column;
  BoxPlace a_batch, b_batch;

  __device__ MatmulLoads(const MatmulArgs& args, const TensorMap& a, const TensorMap& b, const MatmulWork<c>& work,
                         int index)
      : a_map(a), b_map(b), rank_m(work.rank_m), rank_n(work.rank_n) {
    const MatmulTilePlace tile = tile_at(args.schedule, index, c.has_batch);
    row = work.row_of(tile), column = work.column_of(tile);
    a_batch = batch_place(args, args.a.stride_batch, tile.batch);
    b_batch = batch_place(args, args.b.stride_batch, tile.batch);
  }

  /// Orders one step into an empty stage. alone: without the other blocks of the cluster, which may not have begun.
  template <bool alone>
  __device__ void load(unsigned shared, int stage, int step) const {
    // Blocks in the same row of the cluster share a, those in the same column b.
    unsigned short a_blocks = 0, b_blocks = 0;
    if constexpr (!alone) {
#pragma unroll
      for (int i = 0; i < c.cluster_n; ++i) a_blocks |= 1 << (rank_m + c.cluster_m * i);
#pragma unroll
      for (int i = 0; i < c.cluster_m; ++i) b_blocks |= 1 << (i + c.cluster_m * rank_n);
    }
    const unsigned full = shared + K::kLayout.full + 8 * stage, a = shared + K::kLayout.a + stage * K::kLayout.a_bytes,
                   b = shared + K::kLayout.b + stage * K::kLayout.b_bytes;
    mbarrier_arrive_expect_tx(full, K::kLayout.a_bytes + K::kLayout.b_bytes);
#pragma unroll
    for (int i = 0; i < (alone ? c.cluster_n : 1); ++i) {
      load_share<c.block_m, K::kPanelM, K::kMajorM, c.cluster_n, (!alone && c.cluster_n > 1)>(
          a, a_map, full, step * c.block_k, row, a_batch, alone ? i : rank_n, a_blocks);
    }
#pragma unroll
    for (int i = 0; i < (alone ? c.cluster_m : 1); ++i) {
      load_share<c.block_n, K::kPanelN, K::kMajorN, c.cluster_m, (!alone && c.cluster_m > 1)>(
          b, b_map, full, step * c.block_k, column, b_batch, alone ? i : rank_m, b_blocks);
    }
  }
};

/// One thread: orders the first steps of this block's first tile into stages that nobody has used yet. Returns how
/// many. In a cluster that shares operands by this block alone, as the others may not have begun: no more than hides
/// the wait for them, since every block then reads all of both operands.
template <MatmulConfig c>
__device__ int begin_loads(const MatmulArgs& args, const TensorMap& a_map, const TensorMap& b_map, unsigned shared) {
  const MatmulWork<c> work(args);
  typename MatmulWork<c>::Place at = work.begin(args);
  MatmulSteps steps;
  if (!work.take(at, steps)) return 0;
  const MatmulLoads<c> loads(args, a_map, b_map, work, steps.index);
  constexpr int kAlone = c.block_m * c.block_n >= 128 * 128 ? 1 : 2;
  const int count = min_of(steps.end - steps.begin, c.cluster_m * c.cluster_n == 1 ? c.stages : kAlone);
#pragma unroll 1
  for (int i = 0; i < count; ++i) loads.template load<true>(shared, i, steps.begin + i);
  return count;
}

/// One thread: waits for an empty stage, orders both operands into it, goes on.
template <MatmulConfig c>
__device__ void produce(const MatmulArgs& args, const TensorMap& a_map, const TensorMap& b_map,
                        const MatmulWork<c>& work, const MatmulSteps& steps, unsigned shared,
                        RingPlace<c.stages>& place) {
  using K = MatmulSm90<c>;
  const MatmulLoads<c> loads(args, a_map, b_map, work, steps.index);
#pragma unroll 1  // four copies of this were a fifth of the kernel, which small products read from memory
  for (int step = steps.begin; step < steps.end; ++step) {
    mbarrier_wait(shared + K::kLayout.empty + 8 * place.stage, place.parity ^ 1);
    loads.template load<false>(shared, place.stage, step);
    place.advance();
  }
}

}  // namespace fovea
