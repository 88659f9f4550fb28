// SPDX-License-Identifier: Apache-2.0
#include "cli/bench/machine_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/settings.h"
#include "cpu/isa.h"

namespace fovea::cli {

std::string chosen_isa(const std::string& requested) {
  return std::string(
      cpu::choose_unit(cpu::detect_processor(), requested.empty() ? read_settings().cpu_isa : requested).name);
}

void print_bench_header(const Terminal& terminal, const Machine& machine) {
  fmt::print("{}, {} thread{}, {}; peaks are read before every repetition\n\n", machine.processor.model_name,
             machine.num_threads, machine.num_threads == 1 ? "" : "s", machine.isa);
  fmt::print("{}\n", terminal.paint(Color::kBold, fmt::format("{:<42} {:>8} {:>8} {:>12} {:>6}", "problem", "median",
                                                              "min", "rate", "% peak")));
}

nlohmann::ordered_json machine_json(const Machine& m, const std::string& info_json) {
  nlohmann::ordered_json j = {{"processor", m.processor.model_name},
                              {"threads", m.num_threads},
                              {"isa", m.isa},
                              {"system", m.system},
                              {"huge_pages", m.processor.huge_pages},
                              {"compiler", m.compiler},
                              {"version", m.version},
                              {"commit", m.commit},
                              {"date", m.date}};
  const nlohmann::ordered_json info = nlohmann::ordered_json::parse(info_json);
  if (info.contains("processor")) j["details"] = info["processor"];
  return j;
}

}  // namespace fovea::cli
