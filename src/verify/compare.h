// SPDX-License-Identifier: Apache-2.0
// Ours, the plain method, and float64, element by element: the errors and where the worst one is.
#pragma once

#include <cstdint>

namespace fovea {

struct Place {
  int batch = 0, head = 0, row = 0, column = 0;
};

/// Running comparison of one output. Non-finite values must agree in kind: NaN with NaN, an infinity with the same one.
class Comparison {
 public:
  void add(Place place, double expected, double plain, double ours);

  std::int64_t count() const { return count_; }
  double max_error() const { return max_error_; }
  double plain_max_error() const { return plain_max_error_; }
  double rms_error() const;
  double plain_rms_error() const;
  double max_expected() const { return max_expected_; }
  double rms_expected() const;
  std::int64_t non_finite_mismatches() const { return mismatches_; }
  /// Of the largest error, or of the first mismatch of a non-finite value.
  Place worst() const { return worst_; }
  double worst_expected() const { return worst_expected_; }
  double worst_ours() const { return worst_ours_; }

 private:
  std::int64_t count_ = 0, finite_ = 0, mismatches_ = 0;
  double max_error_ = 0, plain_max_error_ = 0, max_expected_ = 0;
  double sum_squared_ = 0, plain_sum_squared_ = 0, expected_sum_squared_ = 0;
  Place worst_;
  double worst_expected_ = 0, worst_ours_ = 0;
};

}  // namespace fovea
