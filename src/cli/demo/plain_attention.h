// SPDX-License-Identifier: Apache-2.0
// The textbook method, for comparison: scores = q k^T in memory, softmax over them, times v. Not a straw man: fp32 with
// vector units and register tiles, and masked scores are not exponentiated; but every score is computed and stored.
#pragma once

#include <vector>

#include "contract/attention_args.h"
#include "fovea/types.h"

namespace fovea::cli {

/// Memory that one head of the plain method works in; grows on first use.
struct PlainScratch {
  std::vector<float> queries, keys, values, scores, output;
};

/// One query head of one sequence into scratch.output (seqlen_q, head_dim_v), fp32. Dense layouts only.
void plain_attention_head(const AttentionArgs& args, DType dtype, int batch, int head, PlainScratch& scratch);

/// "avx512", "avx2" or "baseline": the vector unit it uses on this machine.
const char* plain_attention_isa();

}  // namespace fovea::cli
