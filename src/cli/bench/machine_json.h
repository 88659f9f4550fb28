// SPDX-License-Identifier: Apache-2.0
// What every bench says about the machine, before its rows.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "cli/terminal.h"
#include "measure/machine.h"

namespace fovea::cli {

/// The unit that kernels are chosen from: the one asked for, in the command line or the environment, or the best.
std::string chosen_isa(const std::string& requested);

/// Machine and the names of the columns: problem, median, min, rate, % peak.
void print_bench_header(const Terminal& terminal, const Machine& machine);

/// info_json: as Runtime::info gives it.
nlohmann::ordered_json machine_json(const Machine& machine, const std::string& info_json);

}  // namespace fovea::cli
