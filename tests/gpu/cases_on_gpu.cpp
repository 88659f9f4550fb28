// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/cases_on_gpu.h"

#include <gtest/gtest.h>

#include <memory>

#include "attention/kernels.h"
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
  CaseOnGpu(AttentionCase c, const AttentionKernel* card) : case_(std::move(c)), card_(card) {}
  void TestBody() override {
    JudgedCase& j = judged(case_);
    reset_outputs(j.data);
    DeviceCase on_gpu(j.data);
    AttentionOptions options = j.data.options;
    options.kernel = card_->name;
    attention_forward(gpu().runtime, on_gpu.tensors(), options);
    on_gpu.fetch();
    EXPECT_EQ(judge(j.data, j.expected), "");
  }

 private:
  AttentionCase case_;
  const AttentionKernel* card_;
};

bool takes(const AttentionKernel& card, const AttentionCase& c) {
  CaseData data(c, kUnfilled);
  AttentionTensors tensors = data.tensors();
  for (TensorView* view : {&tensors.q, &tensors.k, &tensors.v, &tensors.o, &tensors.lse, &tensors.seq_lens_q,
                           &tensors.seq_lens_k, &tensors.cu_seqlens_q, &tensors.cu_seqlens_k}) {
    view->device = {DeviceKind::kCUDA, 0};
  }
  return card.supports(describe_attention(tensors, data.options, /*require_data=*/false), gpu().info()).ok;
}

}  // namespace

void register_cases() {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    int number = 0;  // names of the table repeat
    for (const AttentionCase& c : attention_cases(dtype)) {
      ++number;
      for (const AttentionKernel* card : attention_kernels()) {
        if (!takes(*card, c)) continue;
        const std::string name =
            std::string(card->name) + "/" + name_of(dtype) + "/" + std::to_string(number) + " " + c.name;
        ::testing::RegisterTest("AttentionCases", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                                [c, card]() -> ::testing::Test* { return new CaseOnGpu(c, card); });
      }
    }
  }
}

}  // namespace fovea::testing
