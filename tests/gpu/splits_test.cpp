// SPDX-License-Identifier: Apache-2.0
// Calls whose keys are split: partial results and the counters of parts that have arrived are shared by all calls of a
// stream, whatever their shapes.
#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "tests/gpu/gpu.h"

namespace fovea::testing {
namespace {

AttentionCase few_queries(int batch, int seqlen_q, int seqlen_k, int heads_q, int heads_kv, int head_dim) {
  AttentionCase c;
  c.name = "few queries";
  c.batch = batch;
  c.seqlen_q = seqlen_q;
  c.seqlen_k = seqlen_k;
  c.num_heads_q = heads_q;
  c.num_heads_kv = heads_kv;
  c.head_dim = head_dim;
  c.causal = seqlen_q > 1;
  return c;
}

/// Of different numbers of tiles, splits and rows. Sequences of unequal length have splits without keys.
std::vector<AttentionCase> split_cases(DType dtype) {
  std::vector<AttentionCase> cases = {few_queries(1, 1, 5000, 8, 1, 128), few_queries(3, 4, 2100, 8, 2, 64),
                                      few_queries(1, 16, 3000, 8, 2, 128), few_queries(2, 2, 2500, 6, 6, 80)};
  cases.push_back(few_queries(3, 3, 4000, 4, 1, 128));
  cases.back().lengths_k = {4000, 1, 700};
  cases.back().lengths_q = {3, 1, 2};
  for (AttentionCase& c : cases) c.dtype = dtype;
  return cases;
}

std::vector<std::byte> results_of(const CaseData& data) {
  std::vector<std::byte> bytes = data.o.bytes;
  bytes.insert(bytes.end(), data.lse.bytes.begin(), data.lse.bytes.end());
  return bytes;
}

class TwoStreams {
 public:
  TwoStreams() {
    const cuda::ScopedContext scope(gpu().device());
    for (cuda::CUstream& stream : streams_) {
      gpu().check(gpu().api().cuStreamCreate(&stream, cuda::CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    }
  }
  ~TwoStreams() {
    const cuda::ScopedContext scope(gpu().device());
    for (cuda::CUstream stream : streams_) gpu().api().cuStreamDestroy(stream);
  }
  TwoStreams(const TwoStreams&) = delete;
  TwoStreams& operator=(const TwoStreams&) = delete;
  Stream operator[](std::size_t i) const { return {streams_[i % 2]}; }

 private:
  cuda::CUstream streams_[2] = {};
};

class Splits : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, Splits, ::testing::Values(DType::kF16, DType::kBF16, DType::kF32),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(Splits, calls_in_a_row_on_two_streams_do_not_disturb_each_other) {
  if (GetParam() == DType::kBF16 && !gpu().info().has_bf16_mma) GTEST_SKIP() << "this GPU has no bf16";
  std::vector<std::unique_ptr<CaseData>> data;
  std::vector<std::vector<std::byte>> alone;
  for (const AttentionCase& c : split_cases(GetParam())) {
    data.push_back(std::make_unique<CaseData>(c));
    reset_outputs(*data.back());
    DeviceCase on_gpu(*data.back());
    attention_forward(gpu().runtime, on_gpu.tensors(), data.back()->options, Stream{});
    gpu().synchronize();
    on_gpu.fetch();
    EXPECT_EQ(judge(*data.back()), "") << "case " << data.size() - 1;
    alone.push_back(results_of(*data.back()));
  }
  const TwoStreams streams;
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<DeviceCase>> on_gpu;
    for (const auto& one : data) {
      reset_outputs(*one);
      on_gpu.push_back(std::make_unique<DeviceCase>(*one));
    }
    gpu().synchronize();
    for (std::size_t i = 0; i < 2 * data.size(); ++i) {  // each several times, none waited for
      const std::size_t which = i % data.size();
      attention_forward(gpu().runtime, on_gpu[which]->tensors(), data[which]->options, streams[which]);
    }
    gpu().synchronize(streams[0]);
    gpu().synchronize(streams[1]);
    for (std::size_t i = 0; i < data.size(); ++i) {
      on_gpu[i]->fetch();
      EXPECT_TRUE(results_of(*data[i]) == alone[i]) << "case " << i << ", round " << round;
    }
  }
}

}  // namespace
}  // namespace fovea::testing
