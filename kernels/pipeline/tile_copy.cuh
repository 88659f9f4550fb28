// SPDX-License-Identifier: Apache-2.0
// Copies of rows from global memory into a swizzled shared tile by all threads of a block, with zeros where a row or a
// column does not exist: what lies there in memory is never read. begin starts a copy, finish completes it.
// On sm_80 begin issues cp.async and finish does nothing; on sm_75 begin loads into registers and finish stores them,
// so that both overlap the arithmetic in between.
#pragma once

#include "kernels/ptx/cp_async.cuh"
#include "kernels/tile/swizzle.cuh"

namespace fovea {

/// What a copy reads: rows [0, rows_valid) of elements [0, columns_valid), row_stride elements apart.
template <typename T>
struct RowsOf {
  const T* data;
  Int64 row_stride;
  int rows_valid;
  int columns_valid;
};
using RowSource = RowsOf<unsigned short>;

#if __CUDA_ARCH__ >= 800
inline constexpr bool kHasCpAsync = true;
#else
inline constexpr bool kHasCpAsync = false;
#endif

/// copy_bytes: alignment of every row; 16, 8, 4, 2 or, of elements of one byte, 1.
template <int rows, int columns, int threads, int copy_bytes, typename T = unsigned short,
          typename Swizzled = Swizzle<columns* static_cast<int>(sizeof(T)) / 2>>
struct TileCopy {
  using Layout = Swizzled;
  using Source = RowsOf<T>;
  static constexpr int kElementBytes = static_cast<int>(sizeof(T));
  static constexpr int kPiecesPerRow = Layout::kRowBytes / copy_bytes;
  static constexpr int kPieces = rows * kPiecesPerRow;
  static constexpr int kPasses = (kPieces + threads - 1) / threads;
  // A thread keeps its column from pass to pass where whole rows fit into one; 0 where they do not.
  static constexpr int kRowsPerPass = threads % kPiecesPerRow == 0 ? threads / kPiecesPerRow : 0;

  uint4 held[kHasCpAsync || copy_bytes < 16 ? 1 : kPasses];
  bool holds = false;

  __device__ static unsigned shared_offset(int piece) {
    const int byte = piece % kPiecesPerRow * copy_bytes;
    return Layout::offset_bytes(piece / kPiecesPerRow, byte / 16) + byte % 16;
  }
  __device__ static unsigned pass_offset(int pass, int thread) {
    // The swizzle repeats every 8 rows, so that one or a few computed offsets serve all passes.
    if constexpr (kRowsPerPass % 8 == 0 || 8 % max_of(kRowsPerPass, 1) == 0) {
      constexpr int kRepeat = kRowsPerPass >= 8 ? 1 : 8 / max_of(kRowsPerPass, 1);
      constexpr int kBytes = kRepeat * kRowsPerPass * Layout::kRowBytes;
      if (kRowsPerPass > 0) return shared_offset(pass % kRepeat * threads + thread) + pass / kRepeat * kBytes;
    }
    return shared_offset(pass * threads + thread);
  }
  /// Bytes of this piece that exist, 0 to copy_bytes.
  __device__ static int source_bytes(const Source& source, int piece) {
    const int left = kElementBytes * source.columns_valid - piece % kPiecesPerRow * copy_bytes;
    const int bytes = left < 0 ? 0 : left < copy_bytes ? left : copy_bytes;
    return piece / kPiecesPerRow < source.rows_valid ? bytes : 0;
  }
  __device__ static const T* address(const Source& source, int piece) {
    return source.data + (piece / kPiecesPerRow) * source.row_stride +
           piece % kPiecesPerRow * (copy_bytes / kElementBytes);
  }

  /// One piece, of which `bytes` exist at `from`.
  __device__ static void copy_piece(unsigned shared, const T* from, int bytes) {
    if constexpr (kHasCpAsync && copy_bytes == 16) {
      cp_async_cg_16(shared, from, bytes);
    } else if constexpr (kHasCpAsync && copy_bytes == 8) {
      cp_async_ca_8(shared, from, bytes);
    } else if constexpr (kHasCpAsync && copy_bytes == 4) {
      cp_async_ca_4(shared, from, bytes);
    } else {
      auto* to = static_cast<T*>(__cvta_shared_to_generic(shared));
#pragma unroll
      for (int i = 0; i < copy_bytes / kElementBytes; ++i) {
        to[i] = kElementBytes * i < bytes ? from[i] : static_cast<T>(0);
      }
    }
  }

  __device__ void begin(unsigned tile, const Source& source, int thread) {
    holds = false;
    if (copy_bytes == 16 && source.rows_valid >= rows && source.columns_valid == columns) {
      holds = !kHasCpAsync;
      const T* from = address(source, thread);
      const Int64 stride = kRowsPerPass * source.row_stride;
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        const int piece = pass * threads + thread;
        if (kPieces % threads != 0 && piece >= kPieces) break;
        const T* at = kRowsPerPass > 0 ? from : address(source, piece);
        if constexpr (kHasCpAsync) {
          cp_async_cg_16(tile + pass_offset(pass, thread), at);
        } else {
          held[copy_bytes < 16 ? 0 : pass] = *reinterpret_cast<const uint4*>(at);
        }
        from += stride;
      }
    } else {
#pragma unroll 2  // off the main path: small code
      for (int pass = 0; pass < kPasses; ++pass) {
        const int piece = pass * threads + thread;
        if (kPieces % threads != 0 && piece >= kPieces) break;
        const int bytes = source_bytes(source, piece);
        copy_piece(tile + shared_offset(piece), bytes ? address(source, piece) : source.data, bytes);
      }
    }
  }
  /// The tile may be read by the others once every thread has finished, waited (cp_async_wait_group) and met at a
  /// barrier.
  __device__ void finish(unsigned tile, int thread) {
    if constexpr (!kHasCpAsync && copy_bytes == 16) {
      if (!holds) return;
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        if (kPieces % threads != 0 && pass * threads + thread >= kPieces) break;
        *static_cast<uint4*>(__cvta_shared_to_generic(tile + pass_offset(pass, thread))) = held[pass];
      }
    }
  }
};

/// Groups of copies as cp.async counts them; nothing to count where begin and finish do the work.
__device__ inline void commit_copies() {
  if constexpr (kHasCpAsync) cp_async_commit_group();
}
template <int pending>
__device__ inline void wait_for_copies() {
  if constexpr (kHasCpAsync) cp_async_wait_group<pending>();
}

}  // namespace fovea
