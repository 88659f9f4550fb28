// SPDX-License-Identifier: Apache-2.0
// Attention forward in true fp32 (FFMA, no TF32), for every architecture. A block of 256 threads owns block_q = 64
// rows. Thread (x, y) of 16 x 16 holds scores of rows 4 y .. 4 y + 3 and keys x, x + 16, x + 32, x + 48, and of o the
// same rows and columns 4 x .. 4 x + 3 of every 64. q, k and v pass through shared memory in chunks of 64 columns, the
// weights p as a 64 x 64 tile: 51 KiB whatever the head dimension. 128 registers up to head_dim_v 128 (two blocks per
// SM), 210 to 255 beyond (one). Loads are not yet overlapped with the arithmetic.
// Spills: attention_forward_fp32 | * | .blocks_per_sm = 2 | 240 bytes | row addresses, once per chunk of 64 columns
// Spills: attention_forward_fp32 | * | .head_dim_v = 512 | 240 bytes | o takes 128 registers
#pragma once

#include "kernels/block/forward_work.cuh"
#include "kernels/block/warp_reduce.cuh"
#include "kernels/ptx/math.cuh"
#include "kernels/tile/convert.cuh"

namespace fovea {

template <AttentionConfig config>
struct ForwardFp32 {
  static constexpr int kThreads = 256;
  static constexpr int kTile = 64;          // rows, keys and columns of a chunk
  static constexpr int kPitch = kTile + 4;  // floats from row to row: 16 keys read 16 bytes each without conflict
  static constexpr int kChunks = (config.head_dim_v + kTile - 1) / kTile;
  static_assert(config.block_q == kTile && config.block_k == kTile && config.warps == 8, "the thread layout is fixed");
  using Chunk = float[kTile][kPitch];
  struct Shared {
    Chunk q, kv, p;
  };
  static_assert(sizeof(Shared) == forward_fp32_shared_bytes(), "what the host asks for");

  const AttentionArgs& args;
  const ForwardWork<config.packs_heads> work;
  Shared& shared;
  const int x = threadIdx.x % 16;
  const int y = threadIdx.x / 16;
  float scale_log2;
  float o[4][kChunks][4];
  float max_log2[4];
  float sum[4];

  __device__ KeyInterval visible(int row) const {
    const int q = work.query(row);
    return q < work.sequence.seqlen_q ? visible_keys<config.mask>(work.mask, q) : KeyInterval{0, 0};
  }

  /// 64 columns of 64 rows, zeros where a row or column does not exist. offset_of(row) gives the row's first element.
  template <typename Offset>
  __device__ void load(Chunk& chunk, const void* data, Offset offset_of, int rows, int column_first,
                       int columns) const {
    const int column = column_first + 4 * x;
#pragma unroll
    for (int pass = 0; pass < 4; ++pass) {
      const int row = 16 * pass + y;
      float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (row < rows && column < columns) {
        const float* from = static_cast<const float*>(data) + offset_of(row) + column;
        if (config.copy_bytes == 16 && column + 4 <= columns) {
          four = *reinterpret_cast<const float4*>(from);
        } else {
          four.x = from[0];
          if (column + 1 < columns) four.y = from[1];
          if (column + 2 < columns) four.z = from[2];
          if (column + 3 < columns) four.w = from[3];
        }
      }
      *reinterpret_cast<float4*>(&chunk[row][4 * x]) = four;
    }
  }

  /// s = q k^T for the keys from key_first on.
  __device__ void multiply_keys(float (&s)[4][4], int key_first) {
    const KeyValueDense& kv = args.kv;
    const Int64 k_base = work.batch * kv.k_stride_batch + work.head_kv * kv.k_stride_head;
#pragma unroll 1
    for (int column = 0; column < args.head_dim_qk; column += kTile) {
      __syncthreads();  // all have left the chunks
      load(
          shared.q, args.query.q, [&](int row) { return work.query_offset(args.query, row); }, work.rows, column,
          args.head_dim_qk);
      load(
          shared.kv, kv.k,
          [&](int row) { return k_base + (work.sequence.k_first + key_first + row) * kv.k_stride_row; },
          work.keys.end - key_first, column, args.head_dim_qk);
      __syncthreads();
#pragma unroll 1
      for (int c = 0; c < kTile; c += 4) {
        float4 q[4], k[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          q[i] = *reinterpret_cast<const float4*>(&shared.q[4 * y + i][c]);
          k[i] = *reinterpret_cast<const float4*>(&shared.kv[x + 16 * i][c]);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            s[i][j] = fmaf(q[i].x, k[j].x, s[i][j]);
            s[i][j] = fmaf(q[i].y, k[j].y, s[i][j]);
            s[i][j] = fmaf(q[i].z, k[j].z, s[i][j]);
            s[i][j] = fmaf(q[i].w, k[j].w, s[i][j]);
          }
        }
      }
    }
  }

  /// Scales, caps and masks the scores, raises the row maxima, and leaves the weights in shared memory.
  __device__ void weigh(float (&s)[4][4], int key_first) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const KeyInterval seen = visible(4 * y + i);
      float largest = -3.0e38f;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        s[i][j] *= scale_log2;
        if constexpr (config.has_softcap) {
          s[i][j] = args.softcap * kLog2E * tanhf(s[i][j] * (kLn2 / args.softcap));
        }
        if (!seen.contains(key_first + x + 16 * j)) s[i][j] = -__int_as_float(0x7f800000);
        largest = fmaxf(largest, s[i][j]);
      }
      const float raised = fmaxf(max_log2[i], lanes_max<16>(largest));
      // Never 0: an infinite o must stay infinite, and 2^-126 of a finite one is nothing.
      const float factor = fmaxf(ex2_approx(max_log2[i] - raised), 0x1p-126f);
      max_log2[i] = raised;
      sum[i] *= factor;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float p = ex2_approx(s[i][j] - raised);
        sum[i] += p;
        shared.p[4 * y + i][x + 16 * j] = p;
      }
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o[i][c][e] *= factor;
      }
    }
  }

  /// o += p v, 64 columns of v at a time.
  __device__ void multiply_values(int key_first, bool clean) {
    const KeyValueDense& kv = args.kv;
    const Int64 v_base = work.batch * kv.v_stride_batch + work.head_kv * kv.v_stride_head;
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      __syncthreads();  // all have left the chunk; the first time, also: the weights are there
      load(
          shared.kv, kv.v,
          [&](int row) { return v_base + (work.sequence.k_first + key_first + row) * kv.v_stride_row + work.v_first; },
          work.keys.end - key_first, c * kTile, args.head_dim_v - work.v_first);
      __syncthreads();
      if (clean) admit_non_finite(c, key_first);
#pragma unroll 1
      for (int key = 0; key < kTile; key += 4) {
        float4 p[4], v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          p[i] = *reinterpret_cast<const float4*>(&shared.p[4 * y + i][key]);
          v[i] = *reinterpret_cast<const float4*>(&shared.kv[key + i][4 * x]);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          add_product(o[i][c], p[i].x, v[0]);
          add_product(o[i][c], p[i].y, v[1]);
          add_product(o[i][c], p[i].z, v[2]);
          add_product(o[i][c], p[i].w, v[3]);
        }
      }
    }
  }
  __device__ static void add_product(float (&sum_of)[4], float p, const float4& v) {
    sum_of[0] = fmaf(p, v.x, sum_of[0]);
    sum_of[1] = fmaf(p, v.y, sum_of[1]);
    sum_of[2] = fmaf(p, v.z, sum_of[2]);
    sum_of[3] = fmaf(p, v.w, sum_of[3]);
  }

  /// Adds the infinities and NaNs of this chunk of v to the rows that see them and puts zeros in their place, so that
  /// they do not reach the other rows as 0 * inf. See forward_sm80.cuh.
  __device__ void admit_non_finite(int c, int key_first) {
    bool found = false;
#pragma unroll 1
    for (int i = threadIdx.x; i < kTile * kTile; i += kThreads) {
      found |= non_finite<DType::kF32>(shared.kv[i / kTile][i % kTile]);
    }
    if (!__syncthreads_or(found)) return;
#pragma unroll 1
    for (int key = 0; key < kTile; ++key) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float v = shared.kv[key][4 * x + e];
        if (!non_finite<DType::kF32>(v)) continue;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (visible(4 * y + i).contains(key_first + key)) o[i][c][e] += v;
        }
      }
    }
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < kTile * kTile; i += kThreads) {
      float& v = shared.kv[i / kTile][i % kTile];
      if (non_finite<DType::kF32>(v)) v = 0.0f;
    }
    __syncthreads();
  }

  __device__ bool attend(bool clean) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      max_log2[i] = -3.0e38f;
      sum[i] = 0.0f;
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o[i][c][e] = 0.0f;
      }
    }
#pragma unroll 1
    for (int key_first = work.keys.begin; key_first < work.keys.end; key_first += kTile) {
      float s[4][4] = {};
      multiply_keys(s, key_first);
      weigh(s, key_first);
      multiply_values(key_first, clean);
    }
    float probe = 0.0f;  // 0 * x is NaN exactly when x is not finite
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) probe = fmaf(o[i][c][e], 0.0f, probe);
      }
    }
    return !__syncthreads_or(probe != 0.0f);
  }

  __device__ void store() {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 4 * y + i;
      const float total = lanes_sum<16>(sum[i]);
      const bool empty = total == 0.0f || work.query(row) >= work.sequence.seqlen_q;
      const float factor = empty ? 0.0f : 1.0f / total;
      if (x == 0) {
        work.template store_lse<config>(args, row,
                                        empty ? -__int_as_float(0x7f800000) : kLn2 * max_log2[i] + logf(total));
      }
      if (row >= work.rows) continue;
      float* to = config.is_split ? args.split.partial_o + work.partial_row(args, row) * args.head_dim_v
                                  : static_cast<float*>(args.output.o) + work.output_offset(args.output, row);
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int column = work.v_first + c * kTile + 4 * x + e;
          if (column < args.head_dim_v) to[column] = empty ? 0.0f : o[i][c][e] * factor;
        }
      }
    }
  }
};

/// The whole kernel; its block has 256 threads and forward_fp32_shared_bytes() of shared memory.
template <AttentionConfig config>
__device__ inline void forward_fp32(const AttentionArgs& args) {
  extern __shared__ __align__(128) unsigned char shared[];
  const ForwardWork<config.packs_heads> work = find_forward_work<config>(args, blockIdx.x);
  if (work.rows <= 0) return;
  ForwardFp32<config> kernel = {args, work, *reinterpret_cast<typename ForwardFp32<config>::Shared*>(shared)};
  kernel.scale_log2 = args.softmax_scale * kLog2E;
  if (!kernel.attend(false)) kernel.attend(true);
  kernel.store();
}

}  // namespace fovea
