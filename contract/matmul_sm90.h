// SPDX-License-Identifier: Apache-2.0
// How kernels/matmul/matmul_sm90.cuh lays out its shared memory: the host needs the size, the kernel the places.
#pragma once

#include "contract/matmul_config.h"

namespace fovea {

inline constexpr int kSm90SharedBytes = 227 * 1024;  // that a block may have

/// Elements of a row of 128 bytes, the swizzle's.
constexpr int matmul_sm90_block_k(DType dtype) { return 128 / size_bytes(dtype); }

/// Columns of a panel of b where b is contiguous along n: a row of the swizzle, of 64 bytes where 128 would be half
/// empty.
constexpr int matmul_sm90_panel(int block_n) { return block_n % 64 == 32 ? 32 : 64; }

/// wgmma transposes elements of 16 bits only. a of 32 bits that is contiguous along m goes through registers, where any
/// order will do (kernels/matmul/matmul_sm90_register_products.cuh); b always comes from shared memory.
constexpr bool matmul_sm90_a_in_registers(const MatmulConfig& c) {
  return c.dtype == DType::kF32 && c.a_order == MatrixOrder::kColumnMajor;
}

/// Offsets count from a multiple of 1024 bytes.
struct MatmulSm90Layout {
  int a_bytes, b_bytes;  // of one stage
  int a, b, store, full, empty;
  int partial;  // sums that the blocks of a cluster exchange; where it is not 0 nothing else lies there
  int store_columns, store_bytes, store_buffers;  // per warp; 0 where d is not stored by the copy engine
  int total_bytes;                                // with the slack to align
};

/// d by the copy engine: 16-bit, rows that it can address, chunks of 32 or 64 columns.
constexpr bool matmul_sm90_stores_by_tma(const MatmulConfig& c) {
  return c.split == SplitKind::kNone && size_bytes(c.d_dtype) == 2 && c.d_order == MatrixOrder::kRowMajor &&
         c.d_copy_bytes == 16 && c.block_n % 32 == 0;
}

/// Where k is split: groups of four neighbouring sums that a block of the cluster finishes.
constexpr int matmul_sm90_share(const MatmulConfig& c) { return ceil_div(c.block_m * c.block_n / 4, c.num_splits); }

/// Small tiles: a block writes sums where another block finishes them, in memory of their own; else it reads them
/// there.
constexpr bool matmul_sm90_pushes_sums(const MatmulConfig& c) {
  return c.split == SplitKind::kCluster && c.block_m * c.block_n <= 64 * 64;
}

constexpr MatmulSm90Layout matmul_sm90_layout(const MatmulConfig& c) {
  MatmulSm90Layout l = {};
  const int groups = c.warps / 4;
  const bool b_is_n_major = c.b_order == MatrixOrder::kRowMajor;
  l.a_bytes = c.block_m * 128;
  const int panel = matmul_sm90_panel(c.block_n);
  l.b_bytes = (b_is_n_major ? ceil_div(c.block_n, panel) * panel : c.block_n) * 128;
  l.a = 0;
  l.b = c.stages * l.a_bytes;
  l.store = l.b + c.stages * l.b_bytes;
  int end = l.store;
  if (matmul_sm90_stores_by_tma(c) && groups > 0) {
    l.store_columns = c.block_n % 64 == 0 ? 64 : 32;
    l.store_bytes = 16 * 2 * l.store_columns;
    // As many as one tile needs, if they fit beside the stages; two at least.
    l.store_buffers = max_of(c.block_m / 64 / groups * (c.block_n / l.store_columns), 1);
    while (l.store_buffers > 2 && end + c.warps * l.store_buffers * l.store_bytes > kSm90SharedBytes - 2048) {
      --l.store_buffers;
    }
    end += c.warps * l.store_buffers * l.store_bytes;
  }
  if (matmul_sm90_pushes_sums(c)) {
    l.partial = (end + 15) / 16 * 16;
    end = l.partial + 4 * c.num_splits * matmul_sm90_share(c) * 4;
  } else if (c.split == SplitKind::kCluster) {
    const bool along_m = c.d_order == MatrixOrder::kColumnMajor;
    end = max_of(end, 4 * (along_m ? c.block_n * (c.block_m + 4) : c.block_m * (c.block_n + 8)));
  }
  l.full = (end + 15) / 16 * 16;
  l.empty = l.full + 8 * c.stages;
  l.total_bytes = l.empty + 8 * c.stages + 1024;
  return l;
}

}  // namespace fovea
