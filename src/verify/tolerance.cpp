// SPDX-License-Identifier: Apache-2.0
#include "verify/tolerance.h"

namespace fovea {

double unit_roundoff(DType dtype) {
  switch (dtype) {
    case DType::kF16: return 0x1p-11;
    case DType::kBF16: return 0x1p-8;
    default: return 0x1p-24;
  }
}

Tolerance tolerance_of(const Comparison& c, DType dtype) {
  // fp32 arithmetic inside: a dot product, an exponential and a sum each leave a few units in the last place, however
  // exact the plain method is by luck. The stored format adds one rounding, which may fall to the other side.
  constexpr double kArithmetic = 4 * 0x1p-24;
  const double rounding = unit_roundoff(dtype);
  // An RMS ratio of 1.1 needs enough elements to mean something; with few, one rounding more or less moves it.
  constexpr std::int64_t kEnough = 1024;
  const bool enough = c.count() >= kEnough;
  Tolerance t;
  t.max_limit = 2.0 * c.plain_max_error() + (rounding + kArithmetic) * c.max_expected();
  t.rms_limit =
      (enough ? 1.1 : 2.0) * c.plain_rms_error() + (kArithmetic + (enough ? 0.0 : rounding)) * c.rms_expected();
  return t;
}

bool passes(const Comparison& c, const Tolerance& t) {
  return c.non_finite_mismatches() == 0 && c.max_error() <= t.max_limit && c.rms_error() <= t.rms_limit;
}

}  // namespace fovea
