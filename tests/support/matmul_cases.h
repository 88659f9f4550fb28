// SPDX-License-Identifier: Apache-2.0
// The case table of matrix multiplication: every kernel on every device is run through it and judged by the float64
// reference. The awkward cases are always in: sizes of 0, 1 and primes, transposed and strided operands, shared and
// uneven batches, NaN and infinities in memory that must not be read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fovea/matmul.h"
#include "tests/support/host_tensor.h"
#include "verify/matmul.h"

namespace fovea::testing {

/// How the operand lies in memory.
enum class Order : unsigned char {
  kRows,       // row-major, contiguous
  kColumns,    // column-major (transposed), contiguous
  kGappyRows,  // row-major, rows 5 elements longer than the matrix is wide, NaN between them
  kGappyColumns,
  kEverySecond,  // neither stride is 1
};

enum class MatmulFill : unsigned char {
  kNormal,
  kLarge,     // values in the thousands: fp16 outputs overflow
  kTiny,      // products below the normal numbers of fp32
  kNan,       // one NaN in a, one infinity in b
  kIntegers,  // small integers: every sum is exact, any order gives the same
};

struct MatmulCase {
  std::string name;
  DType dtype = DType::kF32;
  int m = 1, n = 1, k = 1;
  std::vector<int> batch;             // leading sizes of d
  std::vector<int> batch_a, batch_b;  // of a and b where they differ (used if differs is set)
  bool differs = false;
  Order a_order = Order::kRows, b_order = Order::kRows, d_order = Order::kRows;
  int a_shift = 0, b_shift = 0;  // elements by which the operand begins behind an aligned address
  std::optional<DType> d_dtype, c_dtype,
      bias_dtype;       // absent: that of a (bf16 for e4m3); c and bias exist with the flags below
  bool has_c = false;   // with beta
  bool c_is_d = false;  // c is d itself
  bool has_bias = false;
  Activation activation = Activation::kNone;
  float alpha = 1.0f, beta = 0.0f;
  MatmulFill fill = MatmulFill::kNormal;
  Math math = Math::kExact;
  ScaleKind scale = ScaleKind::kNone;  // of e4m3
  bool quick = true;                   // false: left out where time is short (sanitizers)
};

std::string to_string(const MatmulCase& c);

/// Every case for one dtype of a and b; of e4m3 without scales, with scales per block, and some with scales per tensor.
/// The list is the same for every device.
std::vector<MatmulCase> matmul_cases(DType dtype, Math math = Math::kExact);

/// The tensors of a case on the host. d is filled with a pattern that no kernel writes (or, as c, with numbers).
struct MatmulData {
  MatmulCase description;
  HostTensor a, b, c, d, bias, a_scale, b_scale;
  MatmulOptions options;

  explicit MatmulData(const MatmulCase& c, std::uint32_t seed = 1);
  MatmulData(const MatmulData&) = delete;
  MatmulTensors tensors() const;
  /// All host tensors that are present, inputs first: for copying to a device.
  std::vector<HostTensor*> all();
  /// Puts back what d held before the call, for the next kernel.
  void reset();

 private:
  void add_scales(std::uint32_t seed);
  std::vector<std::byte> d_before_;
};

/// What is right for this case; the same for every kernel and device. Before the call.
ExpectedMatmul expect(const MatmulData& data, std::int64_t max_rows = 0);

/// Judges d: error rule, and that nothing outside d was written. Empty if right, else the problem, the place, expected
/// and got.
std::string judge(const MatmulData& data, const ExpectedMatmul& expected);

}  // namespace fovea::testing
