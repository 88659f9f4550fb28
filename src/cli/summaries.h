// SPDX-License-Identifier: Apache-2.0
// What the commands show of a plan and of the machine, read from the library's own JSON (attention_explain,
// Runtime::info), so that text and JSON cannot disagree.
#pragma once

#include <cstdint>
#include <string>

#include "fovea/attention.h"
#include "fovea/runtime.h"

namespace fovea::cli {

struct PlanSummary {
  std::string kernel;  // "attention_forward_cpu"
  std::string detail;  // the card's own line
  int block_q = 0;
  int block_k = 0;
  std::int64_t tiles_full = 0, tiles_edge = 0, tiles_skipped = 0;  // of one head
  double flops = 0;                                                // of visible scores, all heads
};
PlanSummary plan_summary(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options);

struct MachineSummary {
  std::string processor;
  int num_threads = 0;
  std::string info_json;  // all of Runtime::info
};
MachineSummary machine_summary(Runtime& runtime);

}  // namespace fovea::cli
