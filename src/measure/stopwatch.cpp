// SPDX-License-Identifier: Apache-2.0
#include "measure/stopwatch.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace fovea {
namespace {

/// Decides when enough has been measured.
class Rounds {
 public:
  explicit Rounds(const Repetitions& wanted) : wanted_(wanted), start_(now_seconds()) {}
  void count(double seconds) {
    ++done_;
    measured_ += seconds;
  }
  bool more() const {
    if (done_ == 0) return true;
    if (now_seconds() - start_ >= wanted_.most_seconds) return false;
    return done_ < wanted_.least || measured_ < wanted_.least_seconds;
  }

 private:
  const Repetitions wanted_;
  const double start_;
  int done_ = 0;
  double measured_ = 0;
};

double seconds_of(const std::function<void()>& call, int calls) {
  const double start = now_seconds();
  for (int i = 0; i < calls; ++i) call();
  return (now_seconds() - start) / calls;
}

/// Makes the warm-up calls; returns how many calls a repetition takes.
int warm_up(const std::function<void()>& call, const Repetitions& repetitions) {
  double seconds = repetitions.call_seconds;
  for (int i = 0; i < repetitions.warmups; ++i) seconds = seconds_of(call, 1);
  if (repetitions.warmups > 0 && seconds < repetitions.call_seconds) seconds = seconds_of(call, 1);  // now it is warm
  return static_cast<int>(std::clamp(std::ceil(repetitions.call_seconds / std::max(seconds, 1e-9)), 1.0, 1e6));
}

}  // namespace

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<double> time_calls(const std::function<void()>& call, const Repetitions& repetitions) {
  return time_calls_in_turn({call}, repetitions).front();
}

std::vector<std::vector<double>> time_calls_in_turn(const std::vector<std::function<void()>>& calls,
                                                    const Repetitions& repetitions) {
  Rounds rounds(repetitions);
  std::vector<int> per_repetition;
  per_repetition.reserve(calls.size());
  for (const auto& call : calls) per_repetition.push_back(warm_up(call, repetitions));
  std::vector<std::vector<double>> seconds(calls.size());
  while (!calls.empty() && rounds.more()) {
    double of_round = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      seconds[i].push_back(seconds_of(calls[i], per_repetition[i]));
      of_round += seconds[i].back() * per_repetition[i];
    }
    rounds.count(of_round / static_cast<double>(calls.size()));
  }
  return seconds;
}

PairedMeasurement time_calls_beside_peak(const std::function<void()>& call, double work,
                                         const std::function<double()>& read_peak, const Repetitions& repetitions) {
  Rounds rounds(repetitions);
  const int calls = warm_up(call, repetitions);
  PairedMeasurement m;
  while (rounds.more()) {
    const double peak = read_peak();
    const double seconds = seconds_of(call, calls);
    m.peaks.push_back(peak);
    m.seconds.push_back(seconds);
    m.fractions.push_back(work / seconds / peak);
    rounds.count(seconds * calls);
  }
  return m;
}

}  // namespace fovea
