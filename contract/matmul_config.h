// SPDX-License-Identifier: Apache-2.0
// The compile-time half of how a matrix product is computed: a structural type, one template parameter of a GPU kernel.
// Rule: a field is here if it changes which instructions run; what changes only how many is in matmul_args.h.
#pragma once

#include "contract/dtype.h"
#include "contract/matmul_args.h"

namespace fovea {

/// kPerRow is what a bias per column becomes when a product is computed transposed (d^T = b^T a^T).
enum class BiasKind : unsigned char { kNone, kPerColumn, kPerRow };

/// How k is shared among blocks. kWorkspace: partial sums go to the workspace, the last block of a tile adds them up in
/// a fixed order. kCluster: the blocks of a cluster add up through distributed shared memory.
enum class SplitKind : unsigned char { kNone, kWorkspace, kCluster };

struct MatmulConfig {
  DType dtype = DType::kBF16;  // of a and b
  DType d_dtype = DType::kBF16;
  DType c_dtype = DType::kBF16;     // counts with has_c
  DType bias_dtype = DType::kBF16;  // counts with bias
  Math math = Math::kExact;
  ScaleKind scale = ScaleKind::kNone;
  int a_scale_lines = 1;  // with kPerBlock: rows of a, and columns of b, that share a number
  int b_scale_lines = kScaleBlock;
  MatrixOrder a_order = MatrixOrder::kRowMajor;
  MatrixOrder b_order = MatrixOrder::kRowMajor;
  MatrixOrder d_order = MatrixOrder::kRowMajor;
  MatrixOrder c_order = MatrixOrder::kRowMajor;
  bool has_batch = false;
  bool has_c = false;
  BiasKind bias = BiasKind::kNone;
  Activation activation = Activation::kNone;
  int block_m = 0;  // on a CPU the blocks of a task, in the cache; on a GPU the tile of a block of threads
  int block_n = 0;
  int block_k = 0;
  // The operand is copied: on a CPU into packed panels, on a GPU to where the copy engine can read it (the caller's a
  // and b, whether or not they change places)
  bool packs_a = false;
  bool packs_b = false;
  // GPU kernels only
  int stages = 0;     // buffers of a and b in shared memory
  int warps = 0;      // that multiply; a warpgroup is four
  int warps_m = 0;    // of them along m; the others are along n
  int cluster_m = 1;  // blocks of a cluster
  int cluster_n = 1;
  bool is_persistent = false;
  bool shares_tiles = false;  // persistent blocks may share tiles (MatmulSchedule.shared_tiles)
  SplitKind split = SplitKind::kNone;
  int num_splits = 1;     // as planned; the kernel reads args.schedule
  bool swaps_ab = false;  // computed as d^T = b^T a^T: args, orders and bias are those of the transposed product
  int blocks_per_sm = 0;  // that registers must allow
  int a_copy_bytes = 0;   // alignment of every row (column, if column-major) of the operand: 16, 8, 4 or 2
  int b_copy_bytes = 0;
  int d_copy_bytes = 0;  // of d and c
  friend constexpr bool operator==(const MatmulConfig&, const MatmulConfig&) = default;
};

/// Shared memory of matmul_sm80: the stages of a and b.
constexpr int matmul_sm80_shared_bytes(const MatmulConfig& c) {
  return size_bytes(c.dtype) * c.stages * c.block_k * (c.block_m + c.block_n);
}

/// How many of a warp's 32 lanes of matmul_fp32 lie along m; a lane has fours of rows and of columns.
constexpr int matmul_fp32_lanes_m(int warp_m, int warp_n) { return warp_m >= 2 * warp_n ? 8 : 4; }

/// Shared memory of matmul_fp32: the stages of a and b as floats, in padded rows.
constexpr int matmul_fp32_shared_bytes(const MatmulConfig& c) {
  return 4 * c.stages * c.block_k * (c.block_m + 4 + c.block_n + 4);
}

}  // namespace fovea
