// SPDX-License-Identifier: Apache-2.0
// What is said about a handful of measured numbers.
#pragma once

#include <vector>

namespace fovea {

struct Statistics {
  int count = 0;
  double minimum = 0;
  double quartile_low = 0;
  double median = 0;
  double quartile_high = 0;
  double maximum = 0;
  double mean = 0;
  /// Distance of the quartiles in parts of the median: 0.05 says that half of the numbers lie within about 5 %.
  double spread() const { return median != 0 ? (quartile_high - quartile_low) / median : 0; }
};

/// All zero for no samples.
Statistics summarize(std::vector<double> samples);

/// The value below which `fraction` (0 to 1) of the sorted samples lie, interpolated; there must be at least one.
double quantile(const std::vector<double>& sorted, double fraction);

/// For ratios. 0 for no samples.
double geometric_mean(const std::vector<double>& samples);

}  // namespace fovea
