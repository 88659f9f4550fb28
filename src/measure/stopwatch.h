// SPDX-License-Identifier: Apache-2.0
// The one stopwatch: wall time of calls, repeated, alone or each beside a reading of the machine's peak.
#pragma once

#include <functional>
#include <vector>

#include "measure/statistics.h"

namespace fovea {

/// Seconds on a clock that never goes back; only differences mean something.
double now_seconds();

/// How often. Repetitions go on until all three lower bounds are met or most_seconds have passed.
struct Repetitions {
  int warmups = 1;  // not counted: caches, plans, threads, pages
  int least = 5;
  double least_seconds = 0.2;  // of all counted repetitions together
  double most_seconds = 10.0;  // warm-ups included; one repetition is always made
  /// A repetition calls often enough to last this long, so that the clock's own cost (about 50 ns) does not show.
  double call_seconds = 50e-6;
};

/// Seconds per call, one number per repetition.
std::vector<double> time_calls(const std::function<void()>& call, const Repetitions& repetitions = {});

/// A call measured beside a peak, reading it just before each repetition, so that changes of clock and of other load on
/// the machine cancel in the ratio.
struct PairedMeasurement {
  std::vector<double> seconds;    // per call
  std::vector<double> peaks;      // work per second, read before each
  std::vector<double> fractions;  // work / seconds / peak
};

/// work: of one call, in the unit of the peak (floating-point operations, bytes). read_peak: work per second.
PairedMeasurement time_calls_beside_peak(const std::function<void()>& call, double work,
                                         const std::function<double()>& read_peak, const Repetitions& repetitions = {});

/// Several calls in turn, one repetition each, round after round: for ratios between them.
/// result[i] holds the seconds per call of calls[i]; all have the same length.
std::vector<std::vector<double>> time_calls_in_turn(const std::vector<std::function<void()>>& calls,
                                                    const Repetitions& repetitions = {});

}  // namespace fovea
