// SPDX-License-Identifier: Apache-2.0
// What `fovea bench attention` measures when no problem is described: a grid of prefill calls and a few of decode.
#pragma once

#include <vector>

#include "cli/problem_options.h"

namespace fovea::cli {

struct BenchCase {
  CallShape shape;
  AttentionOptions options;
};

/// {fp32, fp16, bf16} x head_dim {64, 128} x seqlen {512 ... 4096} x {full, causal}, 16 heads; then one query against
/// 4096 and 16384 keys, 32 query heads on 8. quick: head_dim 128, seqlen 1024, and 4096 keys only.
std::vector<BenchCase> default_bench_cases(bool quick);

/// One query row has so little arithmetic for each key that reading keys and values is the limit.
bool is_decode(const CallShape& shape);

}  // namespace fovea::cli
