// SPDX-License-Identifier: Apache-2.0
// The CPU card from the front door: every instruction set that runs here, with more threads than rows, so that keys are
// split and partial states merged, against the float64 reference.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "attention/cpu_schedule.h"
#include "contract/dtype.h"
#include "cpu/isa.h"
#include "fovea/runtime.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "tests/support/cases.h"

namespace fovea {
namespace {

using testing::AttentionCase;
using testing::CaseData;

std::vector<AttentionCase> cases(DType dtype) {
  return {
      {.name = "decode", .dtype = dtype, .seqlen_q = 1, .seqlen_k = 3001, .num_heads_q = 8, .num_heads_kv = 2},
      {.name = "causal rows", .dtype = dtype, .seqlen_q = 40, .seqlen_k = 2500, .head_dim = 128, .causal = true},
      {.name = "lengths",
       .dtype = dtype,
       .batch = 2,
       .seqlen_q = 3,
       .seqlen_k = 2200,
       .num_heads_q = 2,
       .num_heads_kv = 1,
       .head_dim = 80,
       .lengths_q = {3, 2},
       .lengths_k = {2200, 700}},
      {.name = "softcap", .dtype = dtype, .seqlen_q = 5, .seqlen_k = 2048, .head_dim = 33, .softcap = 20.0f},
      {.name = "NaN in one piece", .dtype = dtype, .seqlen_q = 2, .seqlen_k = 2048, .fill = testing::Fill::kNanKey},
  };
}

TEST(ForwardCpu, split_keys_are_right_on_every_instruction_set) {
  const cpu::Processor processor = cpu::detect_processor();
  for (const cpu::Unit& unit : cpu::units()) {
    if (!unit.runs_on(processor.has)) continue;
    Runtime runtime({.num_threads = 8, .cpu_isa = std::string(unit.name)});
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const AttentionCase& c : cases(dtype)) {
        CaseData data(c);
        attention_forward(runtime, data.tensors(), data.options);
        EXPECT_EQ(judge(data), "") << unit.name << " " << name_of(dtype) << " " << c.name;
      }
    }
  }
}

TEST(ForwardCpu, the_cases_above_are_split) {
  for (const AttentionCase& c : cases(DType::kF32)) {
    CaseData data(c);
    const AttentionProblem problem = describe_attention(data.tensors(), data.options);
    const AttentionArgs args = attention_args(data.tensors(), data.options.layout, problem);
    const AttentionConfig config = {.dtype = c.dtype, .block_q = 512, .block_k = 128};
    EXPECT_FALSE(make_cpu_schedule(args, config, 16, 8).splits.empty()) << c.name;
  }
}

}  // namespace
}  // namespace fovea
