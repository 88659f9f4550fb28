// SPDX-License-Identifier: Apache-2.0
// The plan of an attention call and the card by which a kernel introduces itself. Plain data: plan calls no device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_info.h"
#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "fovea/attention.h"
#include "problem/attention_problem.h"

namespace fovea {

class Runtime;
struct AttentionKernel;

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

/// Immutable once made. One per (problem bucket, device); see plan_cache.h for the bucket.
struct AttentionPlan {
  const AttentionKernel* kernel = nullptr;
  AttentionProblem problem;  // of the bucket: run-time numbers are those of the first call
  AttentionConfig config;
  LaunchShape launch;                      // GPU cards
  std::shared_ptr<const void> state;       // the card's own: compiled function, table of CPU kernels
  std::vector<Refusal> refused;            // the cards before this one, with their reasons
  std::string choice = "first candidate";  // "the caller's tile", "tuned …"
  std::string detail;                      // one line by the card: "amx, 32 x 128 tiles"
};

struct AttentionKernel {
  std::string_view name;  // "attention_forward_sm80"
  Support (*supports)(const AttentionProblem&, const DeviceInfo&);
  std::vector<AttentionConfig> (*candidates)(const AttentionProblem&, const DeviceInfo&);  // best guess first
  AttentionPlan (*prepare)(Runtime&, const AttentionProblem&, const DeviceInfo&, const AttentionConfig&);
  void (*run)(Runtime&, const AttentionPlan&, const AttentionProblem&, const AttentionArgs&, Stream);
};

}  // namespace fovea
