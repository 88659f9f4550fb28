// SPDX-License-Identifier: Apache-2.0
// The rule by which a result passes (docs/numerics.md): max error <= 2 x that of the plain method in the input's
// precision, RMS error <= 1.1 x. Where the plain method happens to be exact or nearly so (few keys, few elements) the
// rounding of the formats themselves is the floor; it scales with the expected values, so there is no bare absolute
// tolerance.
#pragma once

#include "fovea/types.h"
#include "verify/compare.h"

namespace fovea {

struct Tolerance {
  double max_limit = 0;
  double rms_limit = 0;
};

/// Half the distance from 1 to the next number: 2^-24, 2^-11, 2^-8 for fp32, fp16, bf16.
double unit_roundoff(DType dtype);

/// Limits for an output stored in `dtype`, from the plain method's errors in the same comparison.
Tolerance tolerance_of(const Comparison& comparison, DType dtype);

/// The same for lse, fp32. It is a logarithm: an absolute error of it is a relative error of the sum of exponentials,
/// so the floor is that of numbers of size 1 where lse itself happens to be near 0.
Tolerance tolerance_of_lse(const Comparison& comparison);

bool passes(const Comparison& comparison, const Tolerance& tolerance);

}  // namespace fovea
