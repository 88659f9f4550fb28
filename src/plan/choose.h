// SPDX-License-Identifier: Apache-2.0
// Who does it: walks the list of cards, first that supports the problem wins; then the config, by order of authority:
// the caller's tile, the tuning table, the first candidate.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "plan/card.h"

namespace fovea {

template <typename Operation>
using Cards = std::span<const Card<Operation>* const>;

/// What the tuning table says about a key: a tile that one of the card's candidates has, or nothing.
template <typename Operation>
struct TunedTile {
  std::string_view kernel;
  typename Operation::Tile tile;
  bool found = false;
};

namespace choose_detail {

template <typename Operation>
std::string names_of(Cards<Operation> kernels) {
  std::string names;
  for (const auto* kernel : kernels) names += fmt::format("{}{}", names.empty() ? "" : ", ", kernel->name);
  return names;
}

}  // namespace choose_detail

/// The first card of the list that supports the problem on this device (or the one named in the key). The cards before
/// it go to refused. Throws kUnsupported with each card's reason; kInvalidArgument if the key names a kernel that the
/// list does not have.
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
    if (support) return *kernel;
    refused->push_back({kernel->name, std::move(support.reason)});
  }
  check(name_exists, ErrorCode::kInvalidArgument, "kernel", "there is no kernel '{}'; there are {}", key.kernel,
        choose_detail::names_of<Operation>(kernels));
  std::string reasons;
  for (const Refusal& r : *refused) reasons += fmt::format("\n  {}: {}", r.kernel, r.reason);
  fail(ErrorCode::kUnsupported, "kernel", "no kernel does {} on {}:{}", to_string(key.bucket), device.name, reasons);
}

/// The chosen card's plan. tuned, if found and of that card, chooses among its candidates where the caller does not.
template <typename Operation>
Plan<Operation> choose_plan(Cards<Operation> kernels, Runtime& runtime, const PlanKey<Operation>& key,
                            const DeviceInfo& device, const TunedTile<Operation>& tuned = {}) {
  std::vector<Refusal> refused;
  const Card<Operation>& kernel = choose_card<Operation>(kernels, key, device, &refused);
  std::string choice = "first candidate";
  auto tile = key.tile;
  const bool takes_tuned = tile == typename Operation::Tile{} && tuned.found && tuned.kernel == kernel.name;
  if (takes_tuned) tile = tuned.tile;
  const auto config = choose_config(kernel.candidates(key.bucket, device), tile, &choice);
  if (takes_tuned) choice = "tuning table";
  Plan<Operation> plan = kernel.prepare(runtime, key.bucket, device, config);
  plan.kernel = &kernel;
  plan.problem = key.bucket;
  plan.refused = std::move(refused);
  plan.choice = choice;
  return plan;
}

}  // namespace fovea
