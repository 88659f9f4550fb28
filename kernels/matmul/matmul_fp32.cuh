// SPDX-License-Identifier: Apache-2.0
// d = activation(alpha a b + beta c + bias) with fp32 products (FFMA, no TF32), for every architecture, dtype, order
// and alignment: fp32 operands, and 16-bit ones where no matrix unit takes them. A block of 256 threads computes one
// tile; thread (x, y) of 16 x 16 holds rows 4 y .. 4 y + 3 of every 64 and columns 4 x .. 4 x + 3 of every 64. The next
// step's operands wait in registers under the products of this one.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_tiles.h"
#include "kernels/block/matmul_finish.cuh"

namespace fovea {

/// One operand: `rows` along m or n by block_k, as floats, k by k in shared memory.
template <DType dtype, MatrixOrder order, bool is_a, int rows, int depth, int copy_bytes>
struct Fp32Operand {
  static constexpr int kThreads = 256;
  static constexpr int kPitch = rows + 4;  // floats from k to k
  static constexpr int kFours = rows * depth / 4 / kThreads;
  static_assert(kFours >= 1, "every thread has four elements that are neighbours");
  static constexpr bool kAlongDepth = order == (is_a ? MatrixOrder::kRowMajor : MatrixOrder::kColumnMajor);
  static constexpr bool kIsVector = dtype == DType::kF32 && copy_bytes == 16 && order != MatrixOrder::kStrided;

  const Element<dtype>* data;
  Int64 stride_rows, stride_depth;
  int rows_valid;
  const Element<dtype>* mine;  // this thread's first element at k = 0
  Int64 stride_fours;          // from one four of a thread to its next
  float held[kFours][4];

  __device__ Fp32Operand(const MatrixArgs& x, Int64 batch, int first, int extent, int thread) {
    stride_rows = is_a ? x.stride_row : x.stride_col;
    stride_depth = is_a ? x.stride_col : x.stride_row;
    data = static_cast<const Element<dtype>*>(x.data) + batch + first * stride_rows;
    rows_valid = extent - first;
    int row, k;
    place(0, thread, row, k);
    mine = data + row * stride_rows + k * stride_depth;
    stride_fours = kAlongDepth ? kThreads / (depth / 4) * stride_rows : kThreads / (rows / 4) * stride_depth;
  }
  /// Row and k of the first of four neighbours.
  __device__ static void place(int four, int thread, int& row, int& k) {
    const int index = four * kThreads + thread;
    row = kAlongDepth ? index / (depth / 4) : index % (rows / 4) * 4;
    k = kAlongDepth ? index % (depth / 4) * 4 : index / (rows / 4);
  }
  __device__ void load(int k_first, int k_end, int thread) {
    if constexpr (kIsVector) {
      if (rows_valid >= rows && k_end - k_first >= depth) {
        const Element<dtype>* from = mine + k_first * stride_depth;
#pragma unroll
        for (int f = 0; f < kFours; ++f) {
          const float4 x = *reinterpret_cast<const float4*>(from + f * stride_fours);
          held[f][0] = x.x, held[f][1] = x.y, held[f][2] = x.z, held[f][3] = x.w;
        }
        return;
      }
    }
    load_some(k_first, k_end, thread);
  }
  /// At the edge of the operand, or element by element.
  __device__ void load_some(int k_first, int k_end, int thread) {
#pragma unroll
    for (int f = 0; f < kFours; ++f) {
      int row, k;
      place(f, thread, row, k);
      const Element<dtype>* from = data + row * stride_rows + (k_first + k) * stride_depth;
      const int left = kAlongDepth ? k_end - k_first - k : rows_valid - row;
      const bool exists = kAlongDepth ? row < rows_valid : k_first + k < k_end;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        held[f][i] = exists && i < left ? to_float<dtype>(from[i * (kAlongDepth ? stride_depth : stride_rows)]) : 0.0f;
      }
    }
  }
  __device__ void store(float* tile, int thread) const {
#pragma unroll
    for (int f = 0; f < kFours; ++f) {
      int row, k;
      place(f, thread, row, k);
      if constexpr (kAlongDepth) {
#pragma unroll
        for (int i = 0; i < 4; ++i) tile[(k + i) * kPitch + row] = held[f][i];
      } else {
        *reinterpret_cast<float4*>(tile + k * kPitch + row) =
            make_float4(held[f][0], held[f][1], held[f][2], held[f][3]);
      }
    }
  }
};

template <MatmulConfig c>
struct MatmulFp32 {
  using A = Fp32Operand<c.dtype, c.a_order, true, c.block_m, c.block_k, c.a_copy_bytes>;
  using B = Fp32Operand<c.dtype, c.b_order, false, c.block_n, c.block_k, c.b_copy_bytes>;
  static constexpr int kRows = c.block_m / 64, kColumns = c.block_n / 64;  // of four, per thread
  static_assert(c.warps == 8 && kRows * 64 == c.block_m && kColumns * 64 == c.block_n, "the thread layout is fixed");
  static constexpr int kStageFloats = c.block_k * (A::kPitch + B::kPitch);
  static_assert(8 * kStageFloats == matmul_fp32_shared_bytes(c), "what the host asks for");
};

template <MatmulConfig c>
__device__ void multiply_fp32(const float* a_tile, const float* b_tile, int x, int y,
                              float (&sums)[4 * MatmulFp32<c>::kRows][4 * MatmulFp32<c>::kColumns]) {
  using K = MatmulFp32<c>;
#pragma unroll
  for (int k = 0; k < c.block_k; ++k) {
    float4 a[K::kRows], b[K::kColumns];
#pragma unroll
    for (int i = 0; i < K::kRows; ++i) {
      a[i] = *reinterpret_cast<const float4*>(a_tile + k * K::A::kPitch + 64 * i + 4 * y);
    }
#pragma unroll
    for (int j = 0; j < K::kColumns; ++j) {
      b[j] = *reinterpret_cast<const float4*>(b_tile + k * K::B::kPitch + 64 * j + 4 * x);
    }
#pragma unroll
    for (int i = 0; i < 4 * K::kRows; ++i) {
      const float4& four = a[i / 4];
      const float left = i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
#pragma unroll
      for (int j = 0; j < K::kColumns; ++j) {
        sums[i][4 * j + 0] += left * b[j].x;
        sums[i][4 * j + 1] += left * b[j].y;
        sums[i][4 * j + 2] += left * b[j].z;
        sums[i][4 * j + 3] += left * b[j].w;
      }
    }
  }
}

template <MatmulConfig c>
__device__ void matmul_fp32(const MatmulArgs& args) {
  using K = MatmulFp32<c>;
  extern __shared__ __align__(16) float floats[];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  // Lanes of a warp as 4 x 8: what a quarter of them reads at once lies in different banks.
  const int x = warp % 4 * 4 + lane % 2 + lane / 16 * 2, y = warp / 4 * 8 + lane / 2 % 8;
  const MatmulTilePart part = part_at(args.schedule, static_cast<int>(blockIdx.x), args.k, c.has_batch);
  const int row = part.tile.m * c.block_m, column = part.tile.n * c.block_n;
  typename K::A a(args.a, batch_offset(args, args.a.stride_batch, part.tile.batch), row, args.m, thread);
  typename K::B b(args.b, batch_offset(args, args.b.stride_batch, part.tile.batch), column, args.n, thread);
  float sums[4 * K::kRows][4 * K::kColumns] = {};
  if (part.k_begin < part.k_end) {
    a.load(part.k_begin, part.k_end, thread);
    b.load(part.k_begin, part.k_end, thread);
  }
  int stage = 0;
#pragma unroll 1
  for (int k = part.k_begin; k < part.k_end; k += c.block_k, stage ^= 1) {
    float* tile = floats + stage * K::kStageFloats;
    a.store(tile, thread);
    b.store(tile + c.block_k * K::A::kPitch, thread);
    __syncthreads();  // two stages: who stores the next one has left the one before
    if (k + c.block_k < part.k_end) {
      a.load(k + c.block_k, part.k_end, thread);
      b.load(k + c.block_k, part.k_end, thread);
    }
    multiply_fp32<c>(tile, tile + c.block_k * K::A::kPitch, x, y, sums);
  }
  const MatmulOffsets from = matmul_offsets(args, part.tile.batch);
#pragma unroll
  for (int i = 0; i < 4 * K::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < K::kColumns; ++j) {
      const int r = row + 64 * (i / 4) + 4 * y + i % 4, at = column + 64 * j + 4 * x;
      const float four[4] = {sums[i][4 * j], sums[i][4 * j + 1], sums[i][4 * j + 2], sums[i][4 * j + 3]};
      if constexpr (c.split == SplitKind::kWorkspace) {
        store_partial<4>(args, part, r, at, four);
      } else {
        store_finished<c, 4, false>(args, from, r, at, four);
      }
    }
  }
}

}  // namespace fovea
