// SPDX-License-Identifier: Apache-2.0
// The text of the demo, section by section, in 80 columns. Each function prints what it is given and computes nothing.
#pragma once

#include <optional>
#include <string>

#include "cli/demo/timing.h"
#include "cli/problem_options.h"
#include "cli/summaries.h"
#include "cli/terminal.h"
#include "contract/attention_args.h"
#include "verify/attention.h"

namespace fovea::cli {

/// What all sections know.
struct DemoScene {
  Terminal terminal;
  CallShape shape;
  AttentionArgs args;
  PlanSummary plan;
  MachineSummary machine;
};

struct DemoTimings {
  CallTiming ours;
  std::optional<CallTiming> ours_unmasked;  // absent where the call has no mask
  double unmasked_flops = 0;
  std::optional<std::int64_t> ours_memory_bytes;
  PlainTiming plain;
};

void print_title(const DemoScene& scene);
void print_mask_section(const DemoScene& scene);
void print_weights_section(const DemoScene& scene);
void print_check_section(const DemoScene& scene, const AttentionReport& report);
void print_timing_section(const DemoScene& scene, const DemoTimings& timings);
void print_next_section(const DemoScene& scene);

/// "causal", "causal window 512", "window 512,0", "no mask".
std::string mask_text(const MaskRule& mask);

}  // namespace fovea::cli
