// SPDX-License-Identifier: Apache-2.0
// What the explanations of all operations have in common.
#pragma once

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>

#include "plan/card.h"

namespace fovea {

/// Problem, device, the cards that refused with their reasons, and the chosen one.
template <typename Operation>
std::string choice_text(const Plan<Operation>& plan, const std::string& problem, const DeviceInfo& device) {
  std::string text = fmt::format("problem  {}\ndevice   {} ({})\n", problem, device.name, device.architecture);
  std::size_t width = plan.kernel->name.size();
  for (const Refusal& r : plan.refused) width = std::max(width, r.kernel.size());
  for (const Refusal& r : plan.refused) text += fmt::format("{:<{}}  refused: {}\n", r.kernel, width, r.reason);
  return text + fmt::format("{:<{}}  chosen: {}\n", plan.kernel->name, width, plan.detail);
}

inline std::string launch_text(const LaunchShape& l) {
  if (l.threads_per_block == 0) return {};
  return fmt::format("launch   {} threads, {} registers, {} bytes of shared memory, {} blocks per SM, cubin {} bytes\n",
                     l.threads_per_block, l.registers_per_thread, l.shared_bytes, l.blocks_per_sm, l.code_bytes);
}

template <typename Operation>
nlohmann::ordered_json choice_json(const Plan<Operation>& plan, const std::string& problem, const DeviceInfo& device) {
  nlohmann::ordered_json j;
  j["problem"] = problem;
  j["device"] = {{"name", device.name}, {"architecture", device.architecture}, {"present", device.is_present}};
  j["refused"] = nlohmann::ordered_json::array();
  for (const Refusal& r : plan.refused) j["refused"].push_back({{"kernel", r.kernel}, {"reason", r.reason}});
  j["kernel"] = plan.kernel->name;
  j["detail"] = plan.detail;
  j["choice"] = plan.choice;
  return j;
}

inline void add_launch_json(nlohmann::ordered_json& j, const LaunchShape& l) {
  if (l.threads_per_block == 0) return;
  j["launch"] = {{"threads_per_block", l.threads_per_block},
                 {"registers_per_thread", l.registers_per_thread},
                 {"shared_bytes", l.shared_bytes},
                 {"blocks_per_sm", l.blocks_per_sm},
                 {"code_bytes", l.code_bytes}};
}

}  // namespace fovea
