// SPDX-License-Identifier: Apache-2.0
// One row of the benchmark: a call on random data, timed beside what the same threads can do at most at that moment.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "cli/bench/cases.h"
#include "cli/summaries.h"
#include "cpu/thread_pool.h"
#include "measure/statistics.h"
#include "measure/stopwatch.h"

namespace fovea::cli {

/// The threads and the instruction set that peaks are read with: those of the runtime.
struct BenchSetting {
  Runtime& runtime;
  cpu::ThreadPool& pool;
  std::string isa;  // the unit chosen for this process
  Repetitions repetitions;
};

struct BenchRow {
  std::string problem;
  PlanSummary plan;
  CallShape shape;
  bool causal = false;
  Statistics seconds;
  Statistics fraction;   // of the peak read just before each repetition
  double work = 0;       // of one call: floating-point operations of visible scores, or bytes of k and v
  double peak = 0;       // median; work per second
  std::string peak_of;   // "vfmadd231ps zmm" or "memory reads"
  std::string peak_isa;  // the unit whose loop was read
  bool is_bandwidth = false;
  /// Processor time that the process got while this was measured, in parts of what its threads could have used. Well
  /// below 1: others use the machine, and calls that outlast a time slice look slower than they are.
  double cpu_share = 0;
};

inline constexpr double kBusyMachine = 0.85;

BenchRow measure_case(const BenchSetting& setting, const BenchCase& bench_case, std::uint64_t seed);

nlohmann::ordered_json json_of(const BenchRow& row);

}  // namespace fovea::cli
