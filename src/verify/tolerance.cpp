// SPDX-License-Identifier: Apache-2.0
#include "verify/tolerance.h"

#include <algorithm>

namespace fovea {
namespace {

/// magnitude: of the numbers whose rounding is the floor.
Tolerance limits(const Comparison& c, double rounding, double max_magnitude, double rms_magnitude) {
  // fp32 arithmetic inside: a dot product, an exponential and a sum each leave a few units in the last place, however
  // exact the plain method is by luck. The stored format adds one rounding, which may fall to the other side.
  constexpr double kArithmetic = 4 * 0x1p-24;
  // An RMS ratio of 1.1 needs enough elements to mean something; with few, one rounding more or less moves it.
  constexpr std::int64_t kEnough = 1024;
  const bool enough = c.count() >= kEnough;
  Tolerance t;
  t.max_limit = 2.0 * c.plain_max_error() + (rounding + kArithmetic) * max_magnitude;
  t.rms_limit = (enough ? 1.1 : 2.0) * c.plain_rms_error() + (kArithmetic + (enough ? 0.0 : rounding)) * rms_magnitude;
  return t;
}

}  // namespace

double unit_roundoff(DType dtype) {
  switch (dtype) {
    case DType::kF16: return 0x1p-11;
    case DType::kBF16: return 0x1p-8;
    default: return 0x1p-24;
  }
}

Tolerance tolerance_of(const Comparison& c, DType dtype) {
  return limits(c, unit_roundoff(dtype), c.max_expected(), c.rms_expected());
}

Tolerance tolerance_of_lse(const Comparison& c) {
  return limits(c, unit_roundoff(DType::kF32), std::max(1.0, c.max_expected()), std::max(1.0, c.rms_expected()));
}

bool passes(const Comparison& c, const Tolerance& t) {
  return c.non_finite_mismatches() == 0 && c.max_error() <= t.max_limit && c.rms_error() <= t.rms_limit;
}

}  // namespace fovea
