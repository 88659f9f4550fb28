// SPDX-License-Identifier: Apache-2.0
// d = activation(alpha a b + beta c + bias) by mma.sync: fp16, bf16 and (as TF32, where the call allows it) fp32 from
// sm_80 on, e4m3 from sm_89 on, fp16 on sm_75 (the same text: copies wait in registers instead of cp.async, two
// stages). Serves every GPU without wgmma, and on Hopper the operands whose rows the copy engine cannot address. A
// block computes one tile: copies run stages - 1 steps ahead of the products. Operands lie in shared memory as they lie
// in global memory; ldmatrix transposes on its way to registers where needed (fp32 is read element by element then).
// Any alignment of rows down to one element; operands without a stride of 1 are read element by element.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_tiles.h"
#include "kernels/block/matmul_finish.cuh"
#include "kernels/block/matmul_scales.cuh"
#include "kernels/pipeline/tile_copy.cuh"
#include "kernels/ptx/shared_address.cuh"
#include "kernels/tile/fragment.cuh"

namespace fovea {

template <bool first, typename A, typename B>
struct ChooseOf {
  using Type = A;
};
template <typename A, typename B>
struct ChooseOf<false, A, B> {
  using Type = B;
};
template <bool first, typename A, typename B>
using Choose = typename ChooseOf<first, A, B>::Type;

/// One operand's tile: `rows` along m or n by block_k, in shared memory as it lies in global memory.
template <DType dtype, MatrixOrder order, bool is_a, int rows, int depth, int threads, int copy_bytes>
struct OperandTile {
  using T = Element<dtype>;
  static constexpr int kElementBytes = size_bytes(dtype);
  static constexpr bool kIsDepthMajor = order == (is_a ? MatrixOrder::kRowMajor : MatrixOrder::kColumnMajor);
  static constexpr bool kIsStrided = order == MatrixOrder::kStrided;
  static constexpr bool kAlongDepth = kIsDepthMajor || kIsStrided;  // rows of the shared tile run along k
  static constexpr int kTileRows = kAlongDepth ? rows : depth, kTileColumns = kAlongDepth ? depth : rows;
  static constexpr int kBytes = kElementBytes * rows * depth;
  static_assert(kElementBytes > 1 || kAlongDepth, "fp8 lies with k contiguous, or is read element by element");
  static constexpr bool kReadsWords = dtype == DType::kF32 && !kAlongDepth;
  using Copy = TileCopy<kTileRows, kTileColumns, threads, kIsStrided ? kElementBytes : copy_bytes, T,
                        Choose<kReadsWords, WordSwizzle<kTileColumns>, Swizzle<kTileColumns * kElementBytes / 2>>>;
  // The second matrix of an A fragment is 8 rows of m below the first; of a B fragment, 8 steps of k further.
  static constexpr BlockOrder kBlockOrder = kAlongDepth == is_a ? BlockOrder::kRowsFirst : BlockOrder::kColumnsFirst;
  using Pattern =
      Choose<kReadsWords, WordPattern<kTileColumns>, FragmentPattern<kTileColumns * kElementBytes / 2, kBlockOrder>>;

  const T* data;  // first row of the tile, k = 0
  Int64 stride_rows, stride_depth;
  int rows_valid;
  Copy copy;

  __device__ OperandTile(const MatrixArgs& x, Int64 batch, int first, int extent) {
    stride_rows = is_a ? x.stride_row : x.stride_col;
    stride_depth = is_a ? x.stride_col : x.stride_row;
    data = static_cast<const T*>(x.data) + batch + first * stride_rows;
    rows_valid = extent - first;
  }
  __device__ void begin(unsigned tile, int k_first, int k_end, int thread) {
    const T* from = data + k_first * stride_depth;
    if constexpr (kIsStrided) {
#pragma unroll 4
      for (int i = thread; i < rows * depth; i += threads) {
        const int r = i / depth, k = i % depth;
        const int byte = k * kElementBytes;
        auto* to =
            static_cast<T*>(__cvta_shared_to_generic(tile + Copy::Layout::offset_bytes(r, byte / 16) + byte % 16));
        *to = r < rows_valid && k_first + k < k_end ? from[r * stride_rows + k * stride_depth] : static_cast<T>(0);
      }
    } else if constexpr (kAlongDepth) {
      copy.begin(tile, {from, stride_rows, rows_valid, k_end - k_first < depth ? k_end - k_first : depth}, thread);
    } else {
      copy.begin(tile, {from, stride_depth, k_end - k_first, rows_valid < rows ? rows_valid : rows}, thread);
    }
  }
  __device__ void finish(unsigned tile, int thread) {
    if constexpr (!kIsStrided) copy.finish(tile, thread);
  }
  /// The fragment of 16 rows (or columns of d) i, counted from the pattern's first, and 32 bytes of k, number kk.
  __device__ static void load(unsigned (&fragment)[4], unsigned tile, const Pattern& pattern, int first, int i,
                              int kk) {
    if constexpr (kReadsWords) {
      pattern.load(fragment, tile, kk, i, /*columns_first=*/is_a);
    } else if constexpr (kAlongDepth) {
      ldmatrix_x4(fragment, tile + pattern.at(first + i, kk));
    } else {
      ldmatrix_x4_trans(fragment, tile + pattern.at(kk, i));
    }
    if constexpr (dtype == DType::kF32) {
#pragma unroll
      for (unsigned& x : fragment) x = cvt_rna_tf32(__int_as_float(static_cast<int>(x)));
    }
  }
};

template <MatmulConfig c>
struct MatmulSm80 {
  static constexpr int kThreads = 32 * c.warps;
  static constexpr int kWarpsN = c.warps / c.warps_m;
  static constexpr int kRows = c.block_m / c.warps_m / 16, kColumns = c.block_n / kWarpsN / 16;  // of 16, per warp
  static_assert(kRows * 16 * c.warps_m == c.block_m && kColumns * 16 * kWarpsN == c.block_n, "16 x 16 per product");
  static_assert(c.stages >= 2 && (kHasCpAsync || c.stages == 2), "copies that wait in registers are one step ahead");
  using A = OperandTile<c.dtype, c.a_order, true, c.block_m, c.block_k, kThreads, c.a_copy_bytes>;
  using B = OperandTile<c.dtype, c.b_order, false, c.block_n, c.block_k, kThreads, c.b_copy_bytes>;
  static constexpr int kStageBytes = A::kBytes + B::kBytes;
  using Sums = float[kRows][kColumns][2][4];
  static_assert(!kPromotes<c> || kScaleBlock % c.block_k == 0, "whole steps of k to a block of the scales");
  static_assert(c.a_scale_lines == 1 && c.b_scale_lines == kScaleBlock, "16 columns have one scale");
};

/// The scales of this thread's part of the tile, for one block of k.
template <MatmulConfig c>
struct PartScales {
  using K = MatmulSm80<c>;
  BlockScales<1> of_a;
  BlockScales<kScaleBlock> of_b;
  int row, column;  // of this thread's and of this warp's part
  float a[K::kRows][2], b[K::kColumns];

  __device__ PartScales(const MatmulArgs& args, int batch, int first_row, int first_column)
      : of_a(args, args.a_scale, batch, args.m),
        of_b(args, args.b_scale, batch, args.n),
        row(first_row),
        column(first_column) {}
  __device__ void load(int block) {
#pragma unroll
    for (int i = 0; i < K::kRows; ++i) {
      a[i][0] = of_a.at(row + 16 * i, block);
      a[i][1] = of_a.at(row + 16 * i + 8, block);
    }
#pragma unroll
    for (int j = 0; j < K::kColumns; ++j) b[j] = of_b.at(column + 16 * j, block);
  }
  __device__ float at(int i, int j, int half) const { return a[i][half] * b[j]; }
};
struct NoScales {
  __device__ NoScales(const MatmulArgs&, int, int, int) {}
  __device__ void load(int) {}
  __device__ float at(int, int, int) const { return 1.0f; }
};

/// sums += scales * block_sums, which begin anew.
template <MatmulConfig c, typename Scales>
__device__ void promote(typename MatmulSm80<c>::Sums& sums, typename MatmulSm80<c>::Sums& block_sums,
                        const Scales& scales) {
  using K = MatmulSm80<c>;
#pragma unroll
  for (int i = 0; i < K::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < K::kColumns; ++j) {
#pragma unroll
      for (int q = 0; q < 8; ++q) {
        float& x = block_sums[i][j][q / 4][q % 4];
        sums[i][j][q / 4][q % 4] += kHasBlockScales<c> ? scales.at(i, j, q % 4 / 2) * x : x;
        x = 0.0f;
      }
    }
  }
}

/// sums += one stage's a b, this warp's part.
template <MatmulConfig c>
__device__ void multiply_stage(unsigned stage, const typename MatmulSm80<c>::A::Pattern& a_pattern,
                               const typename MatmulSm80<c>::B::Pattern& b_pattern, int a_first, int b_first,
                               float (&sums)[MatmulSm80<c>::kRows][MatmulSm80<c>::kColumns][2][4]) {
  using K = MatmulSm80<c>;
#pragma unroll
  for (int kk = 0; kk < c.block_k * size_bytes(c.dtype) / 32; ++kk) {
    unsigned a[K::kRows][4];
#pragma unroll
    for (int i = 0; i < K::kRows; ++i) K::A::load(a[i], stage, a_pattern, a_first, i, kk);
#pragma unroll
    for (int j = 0; j < K::kColumns; ++j) {
      unsigned b[4];
      K::B::load(b, stage + K::A::kBytes, b_pattern, b_first, j, kk);
#pragma unroll
      for (int i = 0; i < K::kRows; ++i) {
        multiply_accumulate<c.dtype>(sums[i][j][0], a[i], b[0], b[1]);
        multiply_accumulate<c.dtype>(sums[i][j][1], a[i], b[2], b[3]);
      }
    }
  }
}

template <MatmulConfig c>
__device__ void multiply_all(typename MatmulSm80<c>::Sums& sums, float factor) {
#pragma unroll
  for (auto& row : sums) {
#pragma unroll
    for (auto& block : row) {
#pragma unroll
      for (int q = 0; q < 8; ++q) block[q / 4][q % 4] *= factor;
    }
  }
}

template <MatmulConfig c>
__device__ void matmul_sm80(const MatmulArgs& args) {
  using K = MatmulSm80<c>;
  extern __shared__ __align__(128) char dynamic_shared[];
  const unsigned shared = shared_address(dynamic_shared);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const MatmulTilePart part = part_at(args.schedule, static_cast<int>(blockIdx.x), args.k, c.has_batch);
  const int row = part.tile.m * c.block_m, column = part.tile.n * c.block_n;
  typename K::A a(args.a, batch_offset(args, args.a.stride_batch, part.tile.batch), row, args.m);
  typename K::B b(args.b, batch_offset(args, args.b.stride_batch, part.tile.batch), column, args.n);
  const int a_first = warp % c.warps_m * K::kRows, b_first = warp / c.warps_m * K::kColumns;
  const typename K::A::Pattern a_pattern(lane, K::A::kAlongDepth ? 0 : a_first);
  const typename K::B::Pattern b_pattern(lane, K::B::kAlongDepth ? 0 : b_first);
  const int steps = (part.k_end - part.k_begin + c.block_k - 1) / c.block_k;
  const auto stage_of = [&](int step) { return shared + step % c.stages * K::kStageBytes; };
  const auto begin = [&](int step) {
    if (step < steps) {
      const int k = part.k_begin + step * c.block_k;
      a.begin(stage_of(step), k, part.k_end, thread);
      b.begin(stage_of(step) + K::A::kBytes, k, part.k_end, thread);
    }
    commit_copies();  // an empty group too: the waits count groups
  };
  const auto finish = [&](int step) {
    if (step >= steps) return;
    a.finish(stage_of(step), thread);
    b.finish(stage_of(step) + K::A::kBytes, thread);
  };
  typename K::Sums sums = {}, block_sums = {};  // the latter for fp8
  Choose<kHasBlockScales<c>, PartScales<c>, NoScales> scales(args, part.tile.batch, row + 16 * a_first + lane / 4,
                                                             column + 16 * b_first);
#pragma unroll
  for (int step = 0; step < c.stages - 1; ++step) {
    begin(step);
    finish(step);
  }
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<c.stages - 2>();
    __syncthreads();  // the stage is there for all, and the one of the step before is free
    begin(step + c.stages - 1);
    if constexpr (kPromotes<c>) {
      const int k = part.k_begin + step * c.block_k;
      if (k % kScaleBlock == 0) scales.load(k / kScaleBlock);
      multiply_stage<c>(stage_of(step), a_pattern, b_pattern, a_first, b_first, block_sums);
      if ((k + c.block_k) % kScaleBlock == 0 || step == steps - 1) promote<c>(sums, block_sums, scales);
    } else {
      multiply_stage<c>(stage_of(step), a_pattern, b_pattern, a_first, b_first, sums);
    }
    finish(step + c.stages - 1);
  }
  if constexpr (c.scale == ScaleKind::kPerTensor) multiply_all<c>(sums, tensor_scale(args));
  const MatmulOffsets from = matmul_offsets(args, part.tile.batch);
#pragma unroll
  for (int i = 0; i < K::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < K::kColumns; ++j) {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const int r = row + 16 * (a_first + i) + lane / 4 + q % 2 * 8;
        const int at = column + 16 * (b_first + j) + 2 * (lane % 4) + q / 2 * 8;
        const float pair[2] = {sums[i][j][q / 2][q % 2 * 2], sums[i][j][q / 2][q % 2 * 2 + 1]};
        if constexpr (c.split == SplitKind::kWorkspace) {
          store_partial<2>(args, part, r, at, pair);
        } else {
          store_finished<c, 2, false>(args, from, r, at, pair);
        }
      }
    }
  }
}

}  // namespace fovea
