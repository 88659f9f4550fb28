// SPDX-License-Identifier: Apache-2.0
// What kernels/matmul/copy_operands.cuh is given: operands of a matrix product that the copy engine cannot read where
// they lie, and where it can. A "line" is what lies together in the copy: a row or a column of the operand.
#pragma once

#include "contract/divisor.h"
#include "contract/host_device.h"
#include "contract/matmul_args.h"

namespace fovea {

struct OperandCopyConfig {
  int element_bytes = 2;   // 1, 2 or 4
  bool has_lines = false;  // of the operands that are copied one at least …
  bool has_tiles = false;  // … is copied so (OperandCopy.is_transposed)
  bool has_batch = false;
};

inline constexpr int kCopyThreads = 256;
inline constexpr int kCopyWords = 2;        // of 16 bytes, that a thread copies where lines stay lines
inline constexpr int kCopyTileBytes = 128;  // of a line, in a tile of 128 / element_bytes lines
inline constexpr int kCopyLineBytes = 128;  // a copy's lines begin at multiples of this

struct OperandCopy {
  const char* from = nullptr;
  const char* end = nullptr;  // behind the operand's last element: nothing is read from there on
  char* to = nullptr;
  Int64 from_line_bytes = 0, from_element_bytes = 0;  // steps between lines and in a line
  Int64 to_line_bytes = 0;                            // the matrices of a batch lie one behind the other
  Int64 from_batch_bytes[kMatmulBatchDims] = {};
  int batch_sizes[kMatmulBatchDims] = {1, 1, 1};  // outermost first; 1 where the operand is shared
  int lines = 0;                                  // of a matrix
  int length = 0;                                 // elements of a line
  bool is_transposed = false;                     // lines of the copy are no lines of the operand
  // Units: words of 16 bytes, line after line; or tiles, those of the same place in all lines first.
  int units = 0, units_of_line = 0, units_of_matrix = 0;
  Divisor of_line, of_matrix;   // by units of a line and by lines of a matrix; by tiles across lines and of a matrix
  Divisor of_inner, of_middle;  // by batch_sizes[2] and [1]
};

/// Both operands in one launch; blocks from first_blocks on are the second's.
struct OperandCopies {
  OperandCopy copy[2];
  int first_blocks = 0;
  bool starts_product = true;  // the kernel behind this one begins, and waits, where no block of this is left to start
};

}  // namespace fovea
