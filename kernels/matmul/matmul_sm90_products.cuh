// SPDX-License-Identifier: Apache-2.0
// The multiplying half of matmul_sm90: what a block's part of the work is, and how a warpgroup turns stages into sums.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_sm90.h"
#include "contract/matmul_tiles.h"
#include "kernels/ptx/cluster.cuh"
#include "kernels/ptx/mbarrier.cuh"
#include "kernels/ptx/warpgroup.cuh"
#include "kernels/ptx/wgmma.cuh"
#include "kernels/tile/panel.cuh"

namespace fovea {

/// Constants that follow from the config.
template <MatmulConfig c>
struct MatmulSm90 {
  static constexpr MatmulSm90Layout kLayout = matmul_sm90_layout(c);
  static constexpr bool kStoresByTma = matmul_sm90_stores_by_tma(c);
  static constexpr bool kMajorM = c.a_order == MatrixOrder::kColumnMajor;  // a is contiguous along m
  static constexpr bool kMajorN = c.b_order == MatrixOrder::kRowMajor;     // b is contiguous along n
  static constexpr bool kAlongM = c.d_order == MatrixOrder::kColumnMajor;  // d is contiguous along m
  static constexpr int kSplits = c.split == SplitKind::kCluster ? c.num_splits : 1;
  static constexpr bool kPushes = matmul_sm90_pushes_sums(c);
  static constexpr bool kShares = c.shares_tiles;  // tiles with other blocks (stream-K)
  static constexpr int kWarpgroups = c.warps / 4;  // that multiply
  static constexpr int kConsumers = 128 * kWarpgroups;
  static constexpr int kBlocks = c.block_m / 64 / kWarpgroups;  // of 64 rows per warpgroup
  static constexpr int kSums = c.block_n / 2;                   // registers per block of 64 rows
  static constexpr int kCluster = c.cluster_m * c.cluster_n * kSplits;
  // Ends of tiles apart (consume). Where tiles are shared, the registers for it would spill.
  static constexpr bool kStaggers = kWarpgroups == 2 && kSplits == 1 && !kShares;
  static constexpr bool kRegisterA = matmul_sm90_a_in_registers(c);
  static constexpr int kReleases = kRegisterA ? 4 : 1;  // of a stage by a warpgroup: warps that read it themselves
  static constexpr int kPanelM = c.block_k;             // rows of a that lie together, if contiguous along m
  static constexpr int kSteps = 4;                      // products of 32 bytes of k per stage
  static constexpr int kStepA = kMajorM ? 2048 : 32;    // bytes from one to the next
  static constexpr int kPanelN = matmul_sm90_panel(c.block_n);  // columns of b that lie together, if contiguous along n
  static constexpr int kStepB = kMajorN ? 32 * kPanelN : 32;

  static_assert(c.block_k == matmul_sm90_block_k(c.dtype), "a stage is a row of the swizzle's 128 bytes");
  static_assert(size_bytes(c.dtype) == 2 || ((!kMajorM || kRegisterA) && !kMajorN),
                "only 16 bits are transposed on the way");
  static_assert(c.block_m % (64 * kWarpgroups) == 0, "every warpgroup takes whole blocks of 64 rows");
  static_assert(kSplits == 1 || !kShares, "tiles are shared by whole blocks");
  static_assert(kSplits == 1 || c.cluster_m * c.cluster_n == 1, "a cluster shares operands or splits k");
  static_assert(c.cluster_n == 1 || c.block_m % (kMajorM ? kPanelM * c.cluster_n : 8 * c.cluster_n) == 0,
                "each block of a cluster loads an equal share of a");
  static_assert(c.cluster_m == 1 || c.block_n % (kMajorN ? 64 * c.cluster_m : 8 * c.cluster_m) == 0,
                "each block of a cluster loads an equal share of b");

  /// Row of the tile that registers 0 and 1 (half 0) or 2 and 3 (half 1) of each four of sums[i] belong to. a from
  /// registers: each block of 16 rows is spread over 32 so that a thread's two are neighbours and a warp reads them
  /// from all banks (matmul_sm90_register_products.cuh).
  __device__ static int row_of(int group, int i, int thread, int half) {
    const int warp = thread / 32, line = thread % 32 / 4;
    if constexpr (kRegisterA) {
      const int part = kBlocks * warp + i;  // of 16 rows
      return 64 * kBlocks * group + 32 * (part / 2) + 16 * (line % 2) + 8 * (part % 2) + line / 2 % 2 * 2 +
             line / 4 * 4 + half;
    }
    return 64 * (group * kBlocks + i) + 16 * warp + line + 8 * half;
  }
};

/// Where a ring stands: the stage and how often it has been round.
template <int stages>
struct RingPlace {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  /// From the beginning, at most once round.
  __device__ void skip(int count) {
    stage = count == stages ? 0 : count;
    parity = count == stages;
  }
};

/// What a block computes in one go: steps (of block_k elements of k) of one tile.
struct MatmulSteps {
  int index;  // of the tile
  int begin, end;
};

/// This block's part of the work: steps of tiles that all blocks share, from the last to the first, then tiles of its
/// own. So the first thing that a block computes is what blocks after it may wait for, and the last of what it shares
/// is what waits for blocks before it.
template <MatmulConfig c>
struct MatmulWork {
  int rank_m = 0, rank_n = 0, split = 0;  // in the cluster
  int cluster, clusters;                  // this one's number and how many there are
  int count;                              // of tiles
  int steps;                              // of a tile

  struct Place {
    int shared_begin, shared_end;  // steps of the shared tiles that are still to do
    int next_tile;                 // of its own
  };

  __device__ explicit MatmulWork(const MatmulArgs& args) {
    using K = MatmulSm90<c>;
    constexpr int kCluster = K::kCluster;
    const int rank = kCluster == 1 ? 0 : static_cast<int>(cluster_ctarank());
    if constexpr (K::kSplits > 1) split = rank;
    if constexpr (K::kSplits == 1 && kCluster > 1) {
      rank_m = rank % c.cluster_m;
      rank_n = rank / c.cluster_m;
    }
    cluster = static_cast<int>(blockIdx.x) / kCluster;
    clusters = static_cast<int>(gridDim.x) / kCluster;
    count = static_cast<int>(args.schedule.num_tiles);
    steps = (args.k + c.block_k - 1) / c.block_k;
  }
  __device__ Place begin(const MatmulArgs& args) const {
    Place place = {0, 0, cluster};
    if (MatmulSm90<c>::kShares && args.schedule.shared_tiles > 0) {
      place.shared_begin = shared_steps_before(args.schedule, steps, cluster, clusters);
      place.shared_end = shared_steps_before(args.schedule, steps, cluster + 1, clusters);
      place.next_tile += args.schedule.shared_tiles;
    }
    return place;
  }
  /// False at the end of the work.
  __device__ bool take(Place& place, MatmulSteps& work) const {
    constexpr int kSplits = MatmulSm90<c>::kSplits;
    if (MatmulSm90<c>::kShares && place.shared_end > place.shared_begin) {
      work.index = (place.shared_end - 1) / steps;
      const int tile_begin = work.index * steps;
      work.begin = max_of(place.shared_begin - tile_begin, 0);
      work.end = place.shared_end - tile_begin;
      place.shared_end = tile_begin + work.begin;
      return true;
    }
    work.index = place.next_tile;
    work.begin = kSplits == 1 ? 0 : static_cast<int>(static_cast<Int64>(steps) * split / kSplits);
    work.end = kSplits == 1 ? steps : static_cast<int>(static_cast<Int64>(steps) * (split + 1) / kSplits);
    place.next_tile += clusters;
    return work.index < count;
  }
  /// First row and column of this block's tile.
  __device__ int row_of(const MatmulTilePlace& tile) const { return (tile.m * c.cluster_m + rank_m) * c.block_m; }
  __device__ int column_of(const MatmulTilePlace& tile) const { return (tile.n * c.cluster_n + rank_n) * c.block_n; }
};

/// A stage may be filled again: told to every block that writes into it. One thread per block that is told, of the
/// warpgroup or, where warps read the stage themselves, of each warp.
template <MatmulConfig c>
__device__ void release(const MatmulWork<c>& work, unsigned empty, int thread) {
  if constexpr (MatmulSm90<c>::kReleases > 1) thread %= 32;
  if constexpr (c.cluster_m * c.cluster_n == 1) {
    if (thread == 0) mbarrier_arrive(empty);
  } else if (thread < c.cluster_m * c.cluster_n) {
    const bool shares = thread % c.cluster_m == work.rank_m || thread / c.cluster_m == work.rank_n;
    if (shares) mbarrier_arrive_cluster(empty, static_cast<unsigned>(thread));
  }
}

/// d += a b (d = a b if is_first) for 64 rows, as many columns as that takes and 32 bytes of k.
template <MatmulConfig c, bool is_first, int count>
__device__ void multiply_64(float (&d)[count], unsigned long long a, unsigned long long b) {
  using K = MatmulSm90<c>;
  if constexpr (c.dtype == DType::kE4M3) {
    if constexpr (is_first) {
      wgmma_m64k32_e4m3_first(d, a, b);
    } else {
      wgmma_m64k32_e4m3(d, a, b);
    }
  } else if constexpr (c.dtype == DType::kF32) {
    if constexpr (is_first) {
      wgmma_m64k8_tf32_first(d, a, b);
    } else {
      wgmma_m64k8_tf32(d, a, b);
    }
  } else if constexpr (is_first) {
    wgmma_m64k16_first<c.dtype, K::kMajorM, K::kMajorN>(d, a, b);
  } else {
    wgmma_m64k16<c.dtype, K::kMajorM, K::kMajorN>(d, a, b);
  }
}

/// The products of a stage that is there, issued: of `blocks` blocks of 64 rows from `block` on, with the columns from
/// `column` on (a multiple of 8, 0 where b is contiguous along n). is_first: they begin new sums.
template <MatmulConfig c, bool is_first, int blocks, int count>
__device__ void multiply_part(unsigned shared, int group, const RingPlace<c.stages>& place, int block, int column,
                              float (&sums)[blocks][count]) {
  using K = MatmulSm90<c>;
  const unsigned long long a_descriptor =
      wgmma_descriptor(shared + K::kLayout.a + group * K::kBlocks * 8192, 8192, 1024);
  constexpr int kRowB = K::kMajorN ? 2 * K::kPanelN : 128;  // bytes, of the swizzle
  const unsigned long long b_descriptor = wgmma_descriptor<kRowB>(shared + K::kLayout.b, 64 * kRowB, 8 * kRowB);
  const unsigned long long a = a_descriptor + static_cast<unsigned>(place.stage * K::kLayout.a_bytes >> 4);
  const unsigned long long b = b_descriptor + static_cast<unsigned>(place.stage * K::kLayout.b_bytes >> 4);
  wgmma_fence();
#pragma unroll
  for (int kk = 0; kk < K::kSteps; ++kk) {
#pragma unroll
    for (int i = 0; i < blocks; ++i) {
      const unsigned long long at = a + (((block + i) * 8192 + kk * K::kStepA) >> 4),
                               bt = b + ((column * kRowB + kk * K::kStepB) >> 4);
      if (is_first && kk == 0) {
        multiply_64<c, true>(sums[i], at, bt);
      } else {
        multiply_64<c, false>(sums[i], at, bt);
      }
    }
  }
  wgmma_commit_group();
}

/// One stage's products, issued.
template <MatmulConfig c, bool is_first>
__device__ void multiply_stage(unsigned shared, int group, const RingPlace<c.stages>& place,
                               float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  mbarrier_wait(shared + MatmulSm90<c>::kLayout.full + 8 * place.stage, place.parity);
  multiply_part<c, is_first>(shared, group, place, 0, 0, sums);
}

template <MatmulConfig c>
__device__ void clear(float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) {
#pragma unroll
    for (int j = 0; j < K::kSums; ++j) sums[i][j] = 0.0f;
  }
}

/// One warpgroup's rows of a tile, complete on return.
template <MatmulConfig c>
__device__ void consume(const MatmulWork<c>& work, const MatmulSteps& steps, unsigned shared, int group, int thread,
                        RingPlace<c.stages>& place, float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  if (steps.begin == steps.end) {
    clear<c>(sums);
    return;
  }
  multiply_stage<c, true>(shared, group, place, sums);
  unsigned last = shared + K::kLayout.empty + 8 * place.stage;
  place.advance();
  // The first warpgroup's last products come before the second one's: its sums leave under these. With fewer steps than
  // stages it could come to the end of two tiles before the other came to the first.
  const bool staggers = K::kStaggers && steps.end - steps.begin >= c.stages;
  const int tell = staggers && group == 0 ? steps.end - 1 : steps.end;
  const int pause = staggers && group == 1 ? steps.end - c.stages + 1 : steps.end;
#pragma unroll 1
  for (int step = steps.begin + 1; step < steps.end; ++step) {
    if (step == pause) {
      wgmma_wait_group<0>();
      release<c>(work, last, thread);
      bar_sync(2, 256);
    }
    multiply_stage<c, false>(shared, group, place, sums);
    if (step == tell) bar_arrive(2, 256);
    wgmma_wait_group<1>();  // the products of the step before are done: its stage is free
    if (step != pause) release<c>(work, last, thread);
    last = shared + K::kLayout.empty + 8 * place.stage;
    place.advance();
  }
  wgmma_wait_group<0>();
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) after_wait(sums[i]);
  release<c>(work, last, thread);
}

}  // namespace fovea
