// SPDX-License-Identifier: Apache-2.0
#include "verify/compare.h"

#include <algorithm>
#include <cmath>

namespace fovea {
namespace {

bool same_non_finite(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b; }

double root_mean(double sum, std::int64_t count) {
  return count > 0 ? std::sqrt(sum / static_cast<double>(count)) : 0.0;
}

}  // namespace

void Comparison::add(Place place, double expected, double plain, double ours) {
  ++count_;
  if (!std::isfinite(expected) || !std::isfinite(ours)) {
    // The 16-bit formats overflow where float64 does not: an infinity that the plain method shows too is no fault.
    if (!same_non_finite(expected, ours) && !same_non_finite(plain, ours)) {
      if (mismatches_++ == 0) worst_ = place, worst_expected_ = expected, worst_ours_ = ours;
    }
    return;
  }
  ++finite_;
  const double error = std::abs(ours - expected);
  const double plain_error = std::isfinite(plain) ? std::abs(plain - expected) : 0.0;
  if (error > max_error_ && mismatches_ == 0) worst_ = place, worst_expected_ = expected, worst_ours_ = ours;
  max_error_ = std::max(max_error_, error);
  plain_max_error_ = std::max(plain_max_error_, plain_error);
  max_expected_ = std::max(max_expected_, std::abs(expected));
  sum_squared_ += error * error;
  plain_sum_squared_ += plain_error * plain_error;
  expected_sum_squared_ += expected * expected;
}

double Comparison::rms_error() const { return root_mean(sum_squared_, finite_); }
double Comparison::plain_rms_error() const { return root_mean(plain_sum_squared_, finite_); }
double Comparison::rms_expected() const { return root_mean(expected_sum_squared_, finite_); }

}  // namespace fovea
