// SPDX-License-Identifier: Apache-2.0
// Matrix multiplication: d = activation(alpha * a b + beta * c + bias), batched, with sums in fp32.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fovea/export.h"
#include "fovea/tensor.h"
#include "fovea/types.h"

namespace fovea {

class Runtime;

/// What the call reads and writes.
///
/// a (..., m, k), b (..., k, n), d (..., m, n): up to three leading dimensions, the batch. Those of a, b and c may be
/// missing or 1 where d has more: the matrix is then shared. Any m, n, k and batch from 0 on; k = 0 gives sums of 0.
/// Any strides: a transposed matrix is its view with two strides exchanged.
/// a and b have one dtype, kF32, kF16, kBF16 or kE4M3; d, c and bias each have one of the first three.
struct MatmulTensors {
  TensorView a, b, d;
  /// Optional: (..., m, n). May be exactly d (the same address, shape, strides and dtype), to add to what is there.
  TensorView c;
  /// Optional: (n), added to every row.
  TensorView bias;
  /// Optional, for a and b of kE4M3: kF32 factors of their elements, so that d = alpha * (a_scale a)(b_scale b) + ….
  /// Either one number for each, of shape (1), or both per block of 128: a_scale (..., m, ceil(k / 128)), one number
  /// for 128 elements of a row of a; b_scale (..., ceil(k / 128), ceil(n / 128)), one for 128 x 128 elements of b.
  TensorView a_scale{}, b_scale{};
};

/// How a kernel divides its work. block_m, block_n and block_k are all positive, or all 0 and chosen by the library; an
/// illegal combination is refused with the limit that it breaks. The others are 0 (empty) for the library's choice.
struct MatmulTile {
  int block_m = 0;
  int block_n = 0;
  int block_k = 0;
  int stages = 0;
  int warps = 0;
  int cluster_m = 0;
  int cluster_n = 0;
  int num_splits = 0;  ///< parts of k that are computed apart and then added; 1 does not split
  /// Blocks of threads that each compute tile after tile (true) or one tile (false). Means nothing on a CPU.
  std::optional<bool> persistent;
  /// Whether an operand goes through packed panels or is read where it lies. On a GPU it follows from the operand
  /// whether it is copied first, and what is asked here means nothing.
  std::optional<bool> packs_a, packs_b;
  friend bool operator==(const MatmulTile&, const MatmulTile&) = default;
};

struct MatmulOptions {
  float alpha = 1.0f;
  /// Factor of c, which must be given if it is not 0; with 0, c is not read.
  float beta = 0.0f;
  Activation activation = Activation::kNone;
  /// kExact: fp32 products are fp32. kFast: elements of fp32 operands may be rounded to TF32 (10 bits of mantissa)
  /// before they are multiplied; GPUs from sm_80 on do so, others and CPUs compute as with kExact.
  Math math = Math::kExact;
  /// The same bits on every run.
  bool deterministic = true;
  MatmulTile tile;
  /// Run this kernel (a card's name, as fovea explain prints it) or fail; empty takes the first that supports the call.
  std::string kernel;
};

/// Sums are accumulated in fp32, alpha, c, bias and activation are applied in fp32, and d is rounded once. NaN and
/// infinities travel as IEEE says. d may not overlap a, b, bias, or c (unless c is exactly d).
/// Throws kInvalidArgument naming the operand and its shape, kUnsupported with each kernel's reason.
/// Work on a GPU is enqueued on stream; on a CPU it is done when the call returns.
FOVEA_API void matmul(const MatmulTensors& tensors, const MatmulOptions& options = {}, Stream stream = {});
FOVEA_API void matmul(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options = {},
                      Stream stream = {});

/// The plan of a call, and why each other kernel refused: for people. json gives the same for programs. Data pointers
/// are not read. device_architecture ("sm_89", "sm_90a" …) plans for a GPU that need not be there; empty plans for the
/// tensors' device.
FOVEA_API std::string matmul_explain(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options,
                                     bool json = false, const std::string& device_architecture = "");

/// The ways that the chosen kernel offers for this call, the cost model's first: what a search measures. Each tile has
/// all its fields set. Throws as matmul does.
FOVEA_API std::vector<MatmulTile> matmul_candidates(Runtime& runtime, const MatmulTensors& tensors,
                                                    const MatmulOptions& options = {});

struct MatmulTiming {
  MatmulTile tile;
  double seconds = 0;   ///< of a call, the best round: others on the machine only add to it; 0 if it failed
  std::string failure;  ///< why the tile is refused
};

/// Times calls of these shapes with each tile, in turn and over several rounds, on random operands of its own: data
/// pointers are not read, and nothing of the caller's is written. On a GPU batches of calls are timed by its own clock,
/// on copies of the operands that take turns, so that operands come from memory rather than from the L2 cache.
/// A tile that is refused has its reason in `failure`. Throws as matmul does for the call itself.
FOVEA_API std::vector<MatmulTiming> matmul_time(Runtime& runtime, const MatmulTensors& tensors,
                                                const MatmulOptions& options, const std::vector<MatmulTile>& tiles,
                                                double seconds_per_tile = 0.1);

/// Remembers, for this device and calls of this shape bucket, that `tile` (one of matmul_candidates) was the fastest:
/// in this runtime and in the tuning table on disk, which later processes read. Throws kInvalidArgument if the tile is
/// none of the candidates, kInternal if the table cannot be written.
FOVEA_API void matmul_remember(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options,
                               const MatmulTile& tile);

}  // namespace fovea
