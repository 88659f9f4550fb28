// SPDX-License-Identifier: Apache-2.0
// What a plan is, and how a kernel introduces itself, for any operation. Plain data: plan calls no device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_info.h"
#include "fovea/types.h"

namespace fovea {

class Runtime;

/// Yes, or the reason why not in words that fit into an error message.
struct Support {
  bool ok = false;
  std::string reason;
  static Support yes() { return {true, {}}; }
  static Support no(std::string why) { return {false, std::move(why)}; }
  explicit operator bool() const { return ok; }
};

struct Refusal {
  std::string_view kernel;
  std::string reason;
};

/// What a GPU launch needs, and what explain prints about it.
struct LaunchShape {
  int threads_per_block = 0;
  int shared_bytes = 0;
  int registers_per_thread = 0;
  int blocks_per_sm = 0;
  std::int64_t code_bytes = 0;
};

template <typename Operation>
struct Card;

/// Immutable once made. One per (problem bucket, device); see plan_cache.h for the bucket. Operation names the types
/// Problem, Config, Tile and Args (attention_plan.h, matmul_plan.h).
template <typename Operation>
struct Plan {
  const Card<Operation>* kernel = nullptr;
  typename Operation::Problem problem;  // of the bucket: run-time numbers are those of the first call
  typename Operation::Config config;
  LaunchShape launch;                      // GPU cards
  std::shared_ptr<const void> state;       // the card's own: compiled function, table of CPU kernels
  std::vector<Refusal> refused;            // the cards before this one, with their reasons
  std::string choice = "first candidate";  // "the caller's tile", "tuned …"
  std::string detail;                      // one line by the card: "amx, 32 x 128 tiles"
  // Attention on a CPU: (row, query head) pairs that skip keys together, of a task's config.block_q; 0: all of it
  int tile_rows = 0;
};

template <typename Operation>
struct Card {
  using Problem = typename Operation::Problem;
  using Config = typename Operation::Config;

  std::string_view name;  // "attention_forward_sm80"
  Support (*supports)(const Problem&, const DeviceInfo&);
  std::vector<Config> (*candidates)(const Problem&, const DeviceInfo&);  // best guess first
  Plan<Operation> (*prepare)(Runtime&, const Problem&, const DeviceInfo&, const Config&);
  void (*run)(Runtime&, const Plan<Operation>&, const Problem&, const typename Operation::Args&, Stream);
  /// Whether it should run what it supports; not asked where the caller insists on this card. Absent: always.
  Support (*pays)(const Problem&, const DeviceInfo&) = nullptr;
};

/// What a plan depends on: the problem's bucket, the tile and the kernel that the caller insists on.
template <typename Operation>
struct PlanKey {
  typename Operation::Problem bucket;
  typename Operation::Tile tile;
  std::string kernel;
  friend bool operator==(const PlanKey&, const PlanKey&) = default;
};

}  // namespace fovea
