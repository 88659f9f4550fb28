// SPDX-License-Identifier: Apache-2.0
// The measurements of the demo: ours, ours with nothing skipped, and the plain method, on the same tensors and threads.
#pragma once

#include <cstdint>
#include <optional>

#include "cli/random_inputs.h"
#include "contract/attention_args.h"
#include "fovea/attention.h"

namespace fovea::cli {

struct CallTiming {
  double seconds = 0;  // median
  int runs = 0;
};

/// The median of as many calls as fit into about a second, at least one and at most seven.
CallTiming time_call(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options);

struct PlainTiming {
  bool ran = false;    // false: one head's scores for each thread do not fit into half of the free memory
  double seconds = 0;  // for all heads; scaled up where not all were run
  int heads_run = 0;
  int num_heads = 0;
  double scores_bytes = 0;    // of all heads at once, as a framework's plain method holds them
  double head_bytes = 0;      // of one head
  double max_difference = 0;  // between ours and the plain method, over the heads that were run
};

/// Heads are run in rounds of num_threads until budget_seconds are spent.
PlainTiming time_plain(const AttentionArgs& args, DType dtype, int num_threads, double budget_seconds);

}  // namespace fovea::cli
