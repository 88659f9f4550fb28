// SPDX-License-Identifier: Apache-2.0
// The case tables, shared out over processes: a case's time is the float64 reference and the compiler's, not the GPU's.
#pragma once

#include <string>
#include <vector>

namespace fovea::testing {

/// Counts of a run, and the names of what failed.
struct Outcome {
  int passed = 0, failed = 0, skipped = 0;
  std::vector<std::string> failures;
  void add(const Outcome& other);
};

/// Of the tests that this process ran.
Outcome outcome_of_this_process();

/// Tests that may run side by side: the suites of the case tables.
inline constexpr const char* kShardedTests = "*Cases.*";

/// Runs kShardedTests in `jobs` processes of this program and waits. What a process printed is shown if one of its
/// tests failed. A process that ended without its outcome counts as a failure.
Outcome run_sharded(int jobs);

/// A process of run_sharded: writes its outcome to `path`.
void write_outcome(const std::string& path);

}  // namespace fovea::testing
