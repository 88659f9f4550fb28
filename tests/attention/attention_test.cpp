// SPDX-License-Identifier: Apache-2.0
// Attention forward on the CPU: the whole case table, for every dtype, on every instruction set that the processor has,
// on one thread and on two, judged by the float64 reference.
#include "fovea/attention.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "contract/dtype.h"
#include "cpu/processor.h"
#include "fovea/error.h"
#include "fovea/runtime.h"
#include "tests/support/cases.h"

namespace fovea {
namespace {

using testing::AttentionCase;
using testing::CaseData;

bool machine_has(const std::string& isa) {
  static const cpu::InstructionSets has = cpu::detect_processor().has;
  if (isa == "avx2") return has.avx2;
  if (isa == "avx512") return has.avx512;
  if (isa == "avx512bf16") return has.avx512 && has.avx512_bf16;
  if (isa == "amx") return has.avx512 && has.amx_tile && has.amx_bf16;
  return true;
}

constexpr const char* kIsas[] = {"baseline", "avx2", "avx512", "avx512bf16", "amx"};

class EveryDtype : public ::testing::TestWithParam<DType> {};

TEST_P(EveryDtype, every_case_of_the_table_is_within_the_tolerance_on_every_instruction_set) {
  std::vector<std::pair<std::string, std::unique_ptr<Runtime>>> runtimes;
  for (const char* isa : kIsas) {
    if (!machine_has(isa)) {
      std::printf("not checked: this processor has no %s\n", isa);
      continue;
    }
    for (int threads : {1, 2}) {
      if (testing::kThreadSanitizer && threads == 1) continue;
      runtimes.emplace_back(std::string(isa) + ", threads " + std::to_string(threads),
                            std::make_unique<Runtime>(RuntimeOptions{.num_threads = threads, .cpu_isa = isa}));
    }
  }
  for (const AttentionCase& c : testing::attention_cases(GetParam())) {
    if (testing::kThreadSanitizer && !c.quick) continue;
    CaseData data(c);
    const ExpectedAttention expected = testing::expect(data);
    for (auto& [name, runtime] : runtimes) {
      testing::reset_outputs(data);
      attention_forward(*runtime, data.tensors(), data.options);
      EXPECT_EQ(testing::judge(data, expected), "") << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, EveryDtype, ::testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

class EveryIsa : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!machine_has(GetParam())) GTEST_SKIP() << "this processor has no " << GetParam();
  }
};

TEST_P(EveryIsa, gives_the_same_bits_twice) {
  Runtime runtime({.num_threads = 2, .cpu_isa = GetParam()});
  for (const AttentionCase& c : testing::attention_cases(DType::kBF16)) {
    CaseData first(c), second(c);
    attention_forward(runtime, first.tensors(), first.options);
    attention_forward(runtime, second.tensors(), second.options);
    EXPECT_EQ(first.o.bytes, second.o.bytes) << to_string(c);
    EXPECT_EQ(first.lse.bytes, second.lse.bytes) << to_string(c);
  }
}

TEST_P(EveryIsa, any_tile_the_caller_insists_on_is_right_or_refused) {
  Runtime runtime({.num_threads = 1, .cpu_isa = GetParam()});
  for (int block_q : {1, 16, 48, 64, 256}) {
    for (int block_k : {1, 16, 100, 128, 512}) {
      CaseData data(
          {.name = "tile", .seqlen_q = 150, .seqlen_k = 210, .num_heads_q = 2, .num_heads_kv = 1, .causal = true});
      data.options.tile.block_q = block_q;
      data.options.tile.block_k = block_k;
      try {
        attention_forward(runtime, data.tensors(), data.options);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
        continue;
      }
      EXPECT_EQ(testing::judge(data), "") << block_q << " x " << block_k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, EveryIsa, ::testing::ValuesIn(kIsas),
                         [](const auto& isa) { return std::string(isa.param); });

TEST(Attention, an_instruction_set_that_is_not_there_is_an_error_that_lists_those_there_are) {
  try {
    Runtime runtime({.num_threads = 1, .cpu_isa = "sse9"});
    CaseData data({.name = "any", .seqlen_q = 2, .seqlen_k = 2});
    attention_forward(runtime, data.tensors(), data.options);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("baseline"), std::string::npos) << error.what();
  }
}

TEST(Attention, what_no_kernel_does_is_refused_with_each_kernels_reason) {
  CaseData data({.name = "any", .seqlen_q = 2, .seqlen_k = 4});
  AttentionTensors tensors = data.tensors();
  const int pages[] = {0};
  tensors.page_table = TensorView::contiguous(const_cast<int*>(pages), DType::kI32, {1, 1});
  try {
    attention_forward(tensors, data.options);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("attention_forward_cpu"), std::string::npos) << error.what();
  }
}

TEST(Attention, explain_names_the_kernel_and_the_tiles) {
  CaseData data({.name = "any", .seqlen_q = 512, .seqlen_k = 512, .causal = true});
  const std::string text = attention_explain(default_runtime(), data.tensors(), data.options);
  EXPECT_NE(text.find("attention_forward_cpu"), std::string::npos) << text;
  EXPECT_NE(text.find("skipped"), std::string::npos) << text;
}

TEST(Attention, explain_counts_the_tiles_that_the_unit_skips_not_its_tasks) {
  CaseData data(
      {.name = "any", .seqlen_q = 4096, .seqlen_k = 4096, .num_heads_q = 4, .num_heads_kv = 1, .causal = true});
  const std::string text = attention_explain(default_runtime(), data.tensors(), data.options, true);
  const auto number_after = [&](std::string_view key) { return std::stod(text.substr(text.find(key) + key.size())); };
  const double full = number_after("\"full\": "), edge = number_after("\"edge\": "),
               skipped = number_after("\"skipped\": ");
  EXPECT_GT(skipped / (full + edge + skipped), 0.48) << text;
  EXPECT_LT(number_after("\"rows\": "), 64) << text;
}

TEST(Attention, adding_a_constant_to_all_scores_changes_nothing_but_lse) {
  // Metamorphic: k' = k + 1/2, with every q summing to 4, shifts all scores of a row by 2 / sqrt(16).
  const AttentionCase c{.name = "shift", .seqlen_q = 50, .seqlen_k = 130, .head_dim = 16};
  CaseData plain(c), shifted(c);
  for (CaseData* data : {&plain, &shifted}) {
    auto* q = static_cast<float*>(data->q.view.data);
    for (int row = 0; row < 50; ++row) {
      float sum = 0;
      for (int i = 0; i < 15; ++i) sum += q[row * 16 + i];
      q[row * 16 + 15] = 4.0f - sum;
    }
  }
  auto* k = static_cast<float*>(shifted.k.view.data);
  for (int i = 0; i < 130 * 16; ++i) k[i] += 0.5f;
  attention_forward(plain.tensors(), plain.options);
  attention_forward(shifted.tensors(), shifted.options);
  const auto* a = static_cast<const float*>(plain.o.view.data);
  const auto* b = static_cast<const float*>(shifted.o.view.data);
  for (int i = 0; i < 50 * 16; ++i) EXPECT_NEAR(a[i], b[i], 2e-5f);
  const auto* lse_a = static_cast<const float*>(plain.lse.view.data);
  const auto* lse_b = static_cast<const float*>(shifted.lse.view.data);
  for (int i = 0; i < 50; ++i) EXPECT_NEAR(lse_b[i] - lse_a[i], 0.5f, 2e-5f);
}

}  // namespace
}  // namespace fovea
