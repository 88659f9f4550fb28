// SPDX-License-Identifier: Apache-2.0
// Who does it: walks the list of cards, first that supports the problem wins; then the config, by order of authority:
// the caller's tile, the tuning table, the first candidate.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "plan/card.h"

namespace fovea {

template <typename Operation>
using Cards = std::span<const Card<Operation>* const>;

/// Which of a card's candidates the tuning table names, as an index; -1 for none.
template <typename Operation>
using TunedChoice = std::function<int(std::string_view kernel, const std::vector<typename Operation::Config>&)>;

namespace choose_detail {

template <typename Operation>
std::string names_of(Cards<Operation> kernels) {
  std::string names;
  for (const auto* kernel : kernels) names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel->name);
  return names;
}

}  // namespace choose_detail

/// The first card of the list that supports the problem on this device and pays there (or the one named in the key).
/// The cards before it go to refused. Throws kUnsupported with each card's reason; kInvalidArgument if the key names a
/// kernel that the list does not have.
template <typename Operation>
const Card<Operation>& choose_card(Cards<Operation> kernels, const PlanKey<Operation>& key, const DeviceInfo& device,
                                   std::vector<Refusal>* refused) {
  bool name_exists = key.kernel.empty();
  for (const auto* kernel : kernels) {
    if (!key.kernel.empty() && kernel->name != key.kernel) {
      refused->push_back({kernel->name, fmt::format("the call asks for {}", key.kernel)});
      continue;
    }
    name_exists = true;
    Support support = kernel->supports(key.bucket, device);
    if (support && kernel->pays && key.kernel.empty()) support = kernel->pays(key.bucket, device);
    if (support) return *kernel;
    refused->push_back({kernel->name, std::move(support.reason)});
  }
  check(name_exists, ErrorCode::kInvalidArgument, "kernel", "there is no kernel '{}'; there are {}", key.kernel,
        choose_detail::names_of<Operation>(kernels));
  std::string reasons;
  for (const Refusal& r : *refused) reasons += fmt::format("\n  {}: {}", r.kernel, r.reason);
  fail(ErrorCode::kUnsupported, "kernel", "no kernel does {} on {}:{}", to_string(key.bucket), device.name, reasons);
}

/// The chosen card's plan. tuned is asked where the caller insists on no tile.
template <typename Operation>
Plan<Operation> choose_plan(Cards<Operation> kernels, Runtime& runtime, const PlanKey<Operation>& key,
                            const DeviceInfo& device, const TunedChoice<Operation>& tuned = {}) {
  std::vector<Refusal> refused;
  const Card<Operation>& kernel = choose_card<Operation>(kernels, key, device, &refused);
  const auto candidates = kernel.candidates(key.bucket, device);
  std::string choice = "first candidate";
  auto config = choose_config(candidates, key.tile, &choice);
  if (tuned && key.tile == typename Operation::Tile{}) {
    if (const int index = tuned(kernel.name, candidates); index >= 0) {
      config = candidates[static_cast<std::size_t>(index)];
      choice = "tuning table";
    }
  }
  Plan<Operation> plan = kernel.prepare(runtime, key.bucket, device, config);
  plan.kernel = &kernel;
  plan.problem = key.bucket;
  plan.refused = std::move(refused);
  plan.choice = choice;
  return plan;
}

}  // namespace fovea
