// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/cases_on_gpu.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "attention/kernels.h"
#include "plan/attention_plan.h"
#include "problem/describe.h"
#include "tests/gpu/gpu.h"

namespace fovea::testing {
namespace {

/// Inputs and what is right, kept from card to card: the reference takes longer than the kernels.
struct JudgedCase {
  CaseData data;
  ExpectedAttention expected;
  explicit JudgedCase(const AttentionCase& c) : data(c), expected(expect(data)) {}
};

JudgedCase& judged(const AttentionCase& c) {
  static std::unique_ptr<JudgedCase> last;
  static std::string last_name;
  const std::string name = to_string(c);
  if (!last || name != last_name) last = std::make_unique<JudgedCase>(c);
  last_name = name;
  return *last;
}

class CaseOnGpu : public ::testing::Test {
 public:
  CaseOnGpu(AttentionCase c, const AttentionKernel* card, const AttentionTile& tile)
      : case_(std::move(c)), card_(card), tile_(tile) {}
  void TestBody() override {
    JudgedCase& j = judged(case_);
    reset_outputs(j.data);
    DeviceCase on_gpu(j.data);
    AttentionOptions options = j.data.options;
    options.kernel = card_->name;
    options.tile = tile_;
    attention_forward(gpu().runtime, on_gpu.tensors(), options);
    on_gpu.fetch();
    EXPECT_EQ(judge(j.data, j.expected), "");
  }

 private:
  AttentionCase case_;
  const AttentionKernel* card_;
  AttentionTile tile_;
};

AttentionProblem problem_on_gpu(const AttentionCase& c) {
  CaseData data(c, kUnfilled);
  AttentionTensors tensors = data.tensors();
  for (TensorView* view : {&tensors.q, &tensors.k, &tensors.v, &tensors.o, &tensors.lse, &tensors.seq_lens_q,
                           &tensors.seq_lens_k, &tensors.cu_seqlens_q, &tensors.cu_seqlens_k}) {
    view->device = {DeviceKind::kCUDA, 0};
  }
  return describe_attention(tensors, data.options, /*require_data=*/false);
}

void register_case(const AttentionCase& c, const AttentionKernel* card, const std::string& name,
                   const AttentionTile& tile) {
  ::testing::RegisterTest("AttentionCases", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [c, card, tile]() -> ::testing::Test* { return new CaseOnGpu(c, card, tile); });
}

/// Tiles beside the first candidate. On Hopper those for many rows: the cases have few.
std::vector<AttentionTile> other_tiles(const AttentionKernel& card, const AttentionProblem& problem) {
  std::vector<AttentionTile> tiles;
  if (card.name != attention_forward_sm90.name) return tiles;
  const auto candidates = card.candidates(bucket_of(problem), gpu().info());
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    const AttentionConfig& c = candidates[i];
    tiles.push_back({.block_q = c.block_q, .block_k = c.block_k, .stages = c.stages, .warps = c.warps});
  }
  return tiles;
}

}  // namespace

void register_cases() {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    int number = 0;  // names of the table repeat
    for (const AttentionCase& c : attention_cases(dtype)) {
      ++number;
      const AttentionProblem problem = problem_on_gpu(c);
      for (const AttentionKernel* card : attention_kernels()) {
        if (!card->supports(problem, gpu().info()).ok) continue;
        const std::string name =
            std::string(card->name) + "/" + name_of(dtype) + "/" + std::to_string(number) + " " + c.name;
        register_case(c, card, name, {});
        for (const AttentionTile& tile : other_tiles(*card, problem)) {
          register_case(c, card, fmt::format("{}, {} rows x {} keys", name, tile.block_q, tile.block_k), tile);
        }
      }
    }
  }
}

}  // namespace fovea::testing
