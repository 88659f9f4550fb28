// SPDX-License-Identifier: Apache-2.0
// d = activation(alpha a b + beta c + bias) with fp32 products (FFMA, no TF32), for every architecture, dtype, order
// and alignment: fp32 operands, and 16-bit ones where no matrix unit takes them. A block computes one tile, a warp a
// part of it, a lane rows and columns in fours: what a lane reads from shared memory per product limits the rate. With
// three stages or more operands come by cp.async (sm_80, fp32), else the next step's wait in registers.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_tiles.h"
#include "kernels/block/matmul_finish.cuh"
#include "kernels/ptx/cp_async.cuh"
#include "kernels/ptx/shared_address.cuh"

namespace fovea {

/// One operand: `rows` along m or n by depth, as floats, k by k in shared memory.
template <DType dtype, MatrixOrder order, bool is_a, int rows, int depth, int copy_bytes, int threads>
struct Fp32Operand {
  static constexpr int kPitch = rows + 4;  // floats from k to k
  static constexpr bool kAlongDepth = order == (is_a ? MatrixOrder::kRowMajor : MatrixOrder::kColumnMajor);

  const Element<dtype>* data;
  Int64 stride_rows, stride_depth;
  int rows_valid;

  __device__ Fp32Operand(const MatrixArgs& x, Int64 batch, int first, int extent) {
    stride_rows = is_a ? x.stride_row : x.stride_col;
    stride_depth = is_a ? x.stride_col : x.stride_row;
    data = static_cast<const Element<dtype>*>(x.data) + batch + first * stride_rows;
    rows_valid = extent - first;
  }
};

/// Copied by cp.async, transposed on the way where k is contiguous.
template <DType dtype, MatrixOrder order, bool is_a, int rows, int depth, int copy_bytes, int threads>
struct Fp32Copies : Fp32Operand<dtype, order, is_a, rows, depth, copy_bytes, threads> {
  using Base = Fp32Operand<dtype, order, is_a, rows, depth, copy_bytes, threads>;
  using Base::kAlongDepth, Base::kPitch, Base::data, Base::stride_rows, Base::stride_depth, Base::rows_valid;
  static_assert(dtype == DType::kF32, "a copy converts nothing");
  // Floats of a copy. Along k eight lanes have neighbours in k and four have neighbouring rows: a sector of 32 bytes
  // each from global memory, and 32 banks of shared memory.
  static constexpr int kWidth = kAlongDepth || order == MatrixOrder::kStrided ? 1 : copy_bytes / 4;
  // Copies of a thread that are neighbours in memory: eights of k, or parts of a line that is longer than the block.
  static constexpr int kNear = kAlongDepth ? depth / 8 : max_of(rows / kWidth / threads, 1);
  static constexpr int kLine = kAlongDepth ? 8 : rows / kWidth / kNear;  // threads with neighbours in memory
  static constexpr int kLines = threads / kLine;
  static constexpr int kCopies = rows * depth / kWidth / threads;
  static_assert(threads % kLine == 0 && kCopies >= 1 && rows * depth % (kWidth * threads) == 0, "whole copies");
  static_assert(!kAlongDepth || (depth % 8 == 0 && rows % kLines == 0), "whole lines");
  static_assert(kAlongDepth || kNear == 1 || kWidth == 1, "what a thread has of the edge is its first copy's");

  const float* next;  // this thread's first element of the next step

  __device__ Fp32Copies(const MatrixArgs& x, Int64 batch, int first, int extent, int k, int thread)
      : Base(x, batch, first, extent) {
    next = data + row_of(0, thread) * stride_rows + (k + k_of(0, thread)) * stride_depth;
  }
  __device__ static int row_of(int copy, int thread) {
    return kAlongDepth ? thread / 8 + copy / kNear * kLines : thread % kLine * kWidth + copy % kNear * kLine;
  }
  __device__ static int k_of(int copy, int thread) {
    return kAlongDepth ? thread % 8 + copy % kNear * 8 : thread / kLine + copy / kNear * kLines;
  }
  __device__ static void copy(unsigned to, const float* from, int floats) {
    if constexpr (kWidth == 4) cp_async_cg_16(to, from, 4 * floats);
    if constexpr (kWidth == 2) cp_async_ca_8(to, from, 4 * floats);
    if constexpr (kWidth == 1) cp_async_ca_4(to, from, 4 * floats);
  }
  /// Starts a step of which all k exist. Rows that do not exist are left as they are: nobody stores their products.
  template <bool has_all_rows>
  __device__ void start(unsigned tile, int thread) {
    const unsigned to = tile + 4 * (k_of(0, thread) * kPitch + row_of(0, thread));
    const int rows_left = rows_valid - row_of(0, thread), floats = has_all_rows ? kWidth : min_of(rows_left, kWidth);
    const Int64 near = kAlongDepth ? 8 : order == MatrixOrder::kStrided ? kLine * stride_rows : kLine;
    const float* from = next;
#pragma unroll
    for (int c = 0; c < kCopies; ++c) {
      if (c > 0 && c % kNear == 0) from += kLines * (kAlongDepth ? stride_rows : stride_depth);
      if (has_all_rows || row_of(c, 0) < rows_left) {
        copy(to + 4 * (k_of(c, 0) * kPitch + row_of(c, 0)), from + c % kNear * near, floats);
      }
    }
    next += depth * stride_depth;
  }
  /// Starts the last step, of which k_left exist along k: zeros follow.
  __device__ void start_last(unsigned tile, int k_left, int thread) {
    const unsigned to = tile + 4 * (k_of(0, thread) * kPitch + row_of(0, thread));
#pragma unroll 1
    for (int c = 0; c < kCopies; ++c) {
      const int row = row_of(c, 0), k = k_of(c, 0);
      const int floats = k_of(c, thread) < k_left ? max_of(min_of(rows_valid - row_of(c, thread), kWidth), 0) : 0;
      copy(to + 4 * (k * kPitch + row), floats > 0 ? next + row * stride_rows + k * stride_depth : data, floats);
    }
  }
};

/// Loaded into registers, converted and stored a step later.
template <DType dtype, MatrixOrder order, bool is_a, int rows, int depth, int copy_bytes, int threads>
struct Fp32Loads : Fp32Operand<dtype, order, is_a, rows, depth, copy_bytes, threads> {
  using Base = Fp32Operand<dtype, order, is_a, rows, depth, copy_bytes, threads>;
  using Base::kAlongDepth, Base::kPitch, Base::data, Base::stride_rows, Base::stride_depth, Base::rows_valid;
  static constexpr int kFours = rows * depth / 4 / threads;
  static_assert(kFours >= 1 && rows * depth % (4 * threads) == 0, "every thread has four elements that are neighbours");
  static constexpr bool kIsVector = dtype == DType::kF32 && copy_bytes == 16 && order != MatrixOrder::kStrided;

  const Element<dtype>* mine;  // this thread's first element at k = 0
  Int64 stride_fours;          // from one four of a thread to its next
  float held[kFours][4];

  __device__ Fp32Loads(const MatrixArgs& x, Int64 batch, int first, int extent, int thread)
      : Base(x, batch, first, extent) {
    int row, k;
    place(0, thread, row, k);
    mine = data + row * stride_rows + k * stride_depth;
    stride_fours = kAlongDepth ? threads / (depth / 4) * stride_rows : threads / (rows / 4) * stride_depth;
  }
  /// Row and k of the first of four neighbours.
  __device__ static void place(int four, int thread, int& row, int& k) {
    const int index = four * threads + thread;
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
  static constexpr int kThreads = 32 * c.warps, kWarpsN = c.warps / c.warps_m;
  static constexpr int kWarpM = c.block_m / c.warps_m, kWarpN = c.block_n / kWarpsN;  // what a warp computes
  static constexpr int kLanesM = matmul_fp32_lanes_m(kWarpM, kWarpN), kLanesN = 32 / kLanesM;
  static constexpr int kRows = kWarpM / (4 * kLanesM), kColumns = kWarpN / (4 * kLanesN);  // of four, per lane
  static_assert(kRows >= 1 && kColumns >= 1 && 4 * kRows * kLanesM * c.warps_m == c.block_m &&
                    4 * kColumns * kLanesN * kWarpsN == c.block_n,
                "every lane has whole fours");
  static constexpr bool kIsAsync = c.stages > 2;
  static constexpr int kAFloats = c.block_k * (c.block_m + 4), kStageFloats = kAFloats + c.block_k * (c.block_n + 4);
  static_assert(4 * c.stages * kStageFloats == matmul_fp32_shared_bytes(c), "what the host asks for");

  struct Fours {
    float4 a[kRows], b[kColumns];
  };
  /// Brings steps of both operands in, one after the other.
  struct Copies {
    Fp32Copies<c.dtype, c.a_order, true, c.block_m, c.block_k, c.a_copy_bytes, kThreads> a;
    Fp32Copies<c.dtype, c.b_order, false, c.block_n, c.block_k, c.b_copy_bytes, kThreads> b;
    bool is_whole;
    static constexpr int kAhead = c.stages - 1;  // steps
    __device__ Copies(const MatmulArgs& args, const MatmulTilePart& part, int row, int column, int thread)
        : a(args.a, batch_offset(args, args.a.stride_batch, part.tile.batch), row, args.m, part.k_begin, thread),
          b(args.b, batch_offset(args, args.b.stride_batch, part.tile.batch), column, args.n, part.k_begin, thread),
          is_whole(a.rows_valid >= c.block_m && b.rows_valid >= c.block_n) {}
    __device__ void start(float* tile, int k_left, int thread) {
      const unsigned to = shared_address(tile);
      if (k_left >= c.block_k) [[likely]] {
        if (is_whole) [[likely]] {
          a.template start<true>(to, thread);
          b.template start<true>(to + 4 * kAFloats, thread);
        } else {
          a.template start<false>(to, thread);
          b.template start<false>(to + 4 * kAFloats, thread);
        }
      } else if (k_left > 0) {
        a.start_last(to, k_left, thread);
        b.start_last(to + 4 * kAFloats, k_left, thread);
      }
      cp_async_commit_group();
    }
    /// The next step is there for all, and the one before is free.
    __device__ void finish(float*, int) {
      cp_async_wait_group<kAhead - 1>();
      __syncthreads();
    }
  };
  struct Loads {
    Fp32Loads<c.dtype, c.a_order, true, c.block_m, c.block_k, c.a_copy_bytes, kThreads> a;
    Fp32Loads<c.dtype, c.b_order, false, c.block_n, c.block_k, c.b_copy_bytes, kThreads> b;
    int k_end;
    static constexpr int kAhead = 1;
    __device__ Loads(const MatmulArgs& args, const MatmulTilePart& part, int row, int column, int thread)
        : a(args.a, batch_offset(args, args.a.stride_batch, part.tile.batch), row, args.m, thread),
          b(args.b, batch_offset(args, args.b.stride_batch, part.tile.batch), column, args.n, thread),
          k_end(part.k_end) {}
    __device__ void start(float*, int k_left, int thread) {
      if (k_left <= 0) return;
      a.load(k_end - k_left, k_end, thread);
      b.load(k_end - k_left, k_end, thread);
    }
    __device__ void finish(float* tile, int thread) {
      a.store(tile, thread);
      b.store(tile + kAFloats, thread);
      __syncthreads();
    }
  };
};

template <MatmulConfig c>
__device__ void load_fours(typename MatmulFp32<c>::Fours& to, const float* a, const float* b, int k) {
  using K = MatmulFp32<c>;
#pragma unroll
  for (int i = 0; i < K::kRows; ++i) {
    to.a[i] = *reinterpret_cast<const float4*>(a + k * (c.block_m + 4) + 4 * K::kLanesM * i);
  }
#pragma unroll
  for (int j = 0; j < K::kColumns; ++j) {
    to.b[j] = *reinterpret_cast<const float4*>(b + k * (c.block_n + 4) + 4 * K::kLanesN * j);
  }
}

__device__ inline float element(const float4& x, int i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }

template <MatmulConfig c>
__device__ void multiply_fp32(float (&sums)[4 * MatmulFp32<c>::kRows][4 * MatmulFp32<c>::kColumns],
                              const typename MatmulFp32<c>::Fours& x) {
  using K = MatmulFp32<c>;
#pragma unroll
  for (int j = 0; j < 4 * K::kColumns; ++j) {
#pragma unroll
    for (int s = 0; s < 4 * K::kRows; ++s) {
      const int i =
          j % 2 == 0 ? s : 4 * K::kRows - 1 - s;  // a column begins with the row that the one before ended with
      sums[i][j] += element(x.a[i / 4], i % 4) * element(x.b[j / 4], j % 4);
    }
  }
}

template <bool is_first, typename First, typename Second>
struct Fp32Either {
  using Type = First;
};
template <typename First, typename Second>
struct Fp32Either<false, First, Second> {
  using Type = Second;
};

template <MatmulConfig c>
__device__ void matmul_fp32(const MatmulArgs& args) {
  using K = MatmulFp32<c>;
  extern __shared__ __align__(16) float floats[];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  // Neighbouring pairs of lanes share rows, so that a quarter of a warp reads few addresses of both operands.
  const int lane_n = lane % 2 + lane / (2 * K::kLanesM) * 2, lane_m = lane / 2 % K::kLanesM;
  const int row_here = warp % c.warps_m * K::kWarpM + 4 * lane_m;
  const int column_here = warp / c.warps_m * K::kWarpN + 4 * lane_n;
  const MatmulTilePart part = part_at(args.schedule, static_cast<int>(blockIdx.x), args.k, c.has_batch);
  const int row = part.tile.m * c.block_m, column = part.tile.n * c.block_n;
  float sums[4 * K::kRows][4 * K::kColumns] = {};
  if (part.k_begin < part.k_end) {
    using Next = typename Fp32Either<K::kIsAsync, typename K::Copies, typename K::Loads>::Type;
    Next next(args, part, row, column, thread);
    int k_left = part.k_end - part.k_begin;
#pragma unroll
    for (int s = 0; s < Next::kAhead; ++s, k_left -= c.block_k)
      next.start(floats + s * K::kStageFloats, k_left, thread);
    next.finish(floats, thread);
    typename K::Fours fours[2];
    int stage = 0;
    float* free = floats + (c.stages - 1) * K::kStageFloats;
    const float *a = floats + row_here, *b = floats + K::kAFloats + column_here;
    load_fours<c>(fours[0], a, b, 0);
#pragma unroll 1
    for (; k_left > -Next::kAhead * c.block_k; k_left -= c.block_k) {
#pragma unroll
      for (int k = 0; k < c.block_k; ++k) {
        if (k == c.block_k - 1) {
          const bool is_last = ++stage == c.stages;
          if (is_last) stage = 0;
          const int to_next = is_last ? -(c.stages - 1) * K::kStageFloats : K::kStageFloats;
          a += to_next, b += to_next;
          next.finish(K::kIsAsync ? nullptr : floats + stage * K::kStageFloats, thread);
        }
        load_fours<c>(fours[(k + 1) % 2], a, b, (k + 1) % c.block_k);
        if (k == 2) {
          next.start(free, k_left, thread);
          free += stage == 0 ? -(c.stages - 1) * K::kStageFloats : K::kStageFloats;
        }
        multiply_fp32<c>(sums, fours[k % 2]);
      }
    }
  }
  const MatmulOffsets from = matmul_offsets(args, part.tile.batch);
  constexpr bool kAlongM = c.d_order == MatrixOrder::kColumnMajor && c.split != SplitKind::kWorkspace;
#pragma unroll
  for (int i = 0; i < (kAlongM ? 1 : 4) * K::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < (kAlongM ? 4 : 1) * K::kColumns; ++j) {
      const int y = kAlongM ? 4 * i : i, x = kAlongM ? j : 4 * j;  // the first of four sums
      const int r = row + row_here + 4 * K::kLanesM * (y / 4) + y % 4;
      const int at = column + column_here + 4 * K::kLanesN * (x / 4) + x % 4;
      float four[4];
#pragma unroll
      for (int f = 0; f < 4; ++f) four[f] = kAlongM ? sums[y + f * kAlongM][x] : sums[y][x + f * !kAlongM];
      if constexpr (c.split == SplitKind::kWorkspace) {
        store_partial<4>(args, part, r, at, four);
      } else {
        store_finished<c, 4, kAlongM>(args, from, r, at, four);
      }
    }
  }
}

}  // namespace fovea
