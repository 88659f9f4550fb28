// SPDX-License-Identifier: Apache-2.0
// What each instruction set's unit exports for matrix products: how it packs operands, and products of packed blocks.
// The units include only this, simd/ and contract/, never std templates (kernels.h says why).
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"

namespace fovea::cpu {

/// Lines of k elements: rows of a, or columns of b.
struct MatmulLines {
  const void* data;
  Int64 stride_line, stride_k;
  int lines, k;
};

/// Where sums become elements of d: offsets of this product of the batch, in elements.
struct MatmulFinish {
  const MatmulArgs* args;
  const MatmulConfig* config;
  Int64 d_offset, c_offset;
};

/// Memory to bring into the second-level cache while a block is multiplied: the next block's lines.
struct MatmulAhead {
  const char* data = nullptr;
  Int64 stride_bytes = 0;
  int rows = 0, row_bytes = 0;
};

/// m x n sums over one block of k.
struct MatmulBlock {
  int m, n, k;
  /// Packed panels if the stride is 0; else the caller's own rows, this many elements apart: of a with k contiguous,
  /// of b with n contiguous (fp32 only).
  const void* a;
  Int64 a_stride;
  void* a_room;  // where tile_rows of the caller's rows are converted, if their elements are not the kernels'
  const void* b;
  Int64 b_stride;
  /// Not null: the panels of b do not exist yet. The first rows' tiles form them, in b's place, of these rows of the
  /// caller's b, n contiguous, b_rows_stride elements apart. Needs rows_outer.
  const void* b_rows;
  Int64 b_rows_stride;
  bool rows_outer;  // a panel of a stays in the first-level cache while those of b pass, or the other way round
  /// fp32 sums, (m, n): set, or added to. Null if there is a finish and nothing to add to.
  float* sums;
  Int64 sums_stride;
  bool adds;
  /// Null: sums are the result. Else sums (if it adds) are read only, and d is written from row, column on.
  const MatmulFinish* finish;
  int row, column;
  MatmulAhead ahead;
};

/// One way to multiply elements of one dtype.
struct MatmulKernels {
  const char* isa;
  const char* products;  // "fp32", "bf16 pairs": for explain
  int tile_rows, tile_columns;
  int depth;                     // elements of k that lie together in a panel; k is filled up with zeros to a multiple
  int element_bytes;             // of a packed element
  int block_k;                   // the best depth of a block
  bool takes_rows_of_a = false;  // a with k contiguous need not be packed (pairs: if k is even)
  bool converts_rows_of_a = false;  // a strip at a time, into a_room
  bool takes_rows_of_b = false;     // b with n contiguous need not be packed
  bool packs_rows_of_b = false;     // multiply forms panels of b with n contiguous itself
  void (*pack_a)(const MatmulLines& lines, void* to);
  void (*pack_b)(const MatmulLines& lines, void* to);
  void (*multiply)(const MatmulBlock& block);
  /// For few rows: a's rows and b's columns where they lie, k contiguous in both; b_stride counts between columns.
  void (*multiply_lines)(const MatmulBlock& block);

  Int64 packed_a_bytes(int lines, int k) const { return packed_bytes(lines, k, tile_rows); }
  Int64 packed_b_bytes(int lines, int k) const { return packed_bytes(lines, k, tile_columns); }

 private:
  Int64 packed_bytes(Int64 lines, Int64 k, int tile) const {
    return (lines + tile - 1) / tile * tile * ((k + depth - 1) / depth * depth) * element_bytes;
  }
};

/// The best way of the unit for this dtype of a and b.
namespace baseline {
const MatmulKernels& matmul_kernels(DType dtype);
}
#if defined(__x86_64__)
namespace avx2 {
const MatmulKernels& matmul_kernels(DType dtype);
}
namespace avx512 {
const MatmulKernels& matmul_kernels(DType dtype);
}
namespace avx512bf16 {
const MatmulKernels& matmul_kernels(DType dtype);
}
namespace amx {
const MatmulKernels& matmul_kernels(DType dtype);
}
#endif

}  // namespace fovea::cpu
