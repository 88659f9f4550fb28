// SPDX-License-Identifier: Apache-2.0
// Where and when something was measured: what every file of results begins with.
#pragma once

#include <string>

#include "cpu/processor.h"

namespace fovea {

struct Machine {
  cpu::Processor processor;
  int num_threads = 0;   // of the measurement
  std::string isa;       // the unit that kernels were chosen from
  std::string system;    // "Linux 6.1.0-13-amd64"
  std::string compiler;  // "gcc 12.2.0"
  std::string version;   // of Fovea
  std::string commit;    // of the checkout that the working directory lies in, if it is one of Fovea; else empty
  std::string date;      // UTC, "2026-01-31T12:00:00Z"
};

Machine describe_machine(int num_threads, const std::string& isa);

/// The commit that is checked out in `directory` or above it, without calling git; empty if there is none.
std::string checked_out_commit(const std::string& directory);

}  // namespace fovea
