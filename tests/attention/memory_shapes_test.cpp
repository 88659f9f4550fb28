// SPDX-License-Identifier: Apache-2.0
// Views of memory that the case table does not make: offsets beyond 2^31 elements, strides of 0, inputs that share
// memory.
#include <sys/mman.h>

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/math.h"
#include "cpu/processor.h"
#include "fovea/attention.h"
#include "fovea/runtime.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "verify/attention.h"

namespace fovea {
namespace {

/// Address space without memory behind it: only the pages that are touched exist.
class SparseMemory {
 public:
  explicit SparseMemory(std::size_t bytes)
      : bytes_(bytes),
        data_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~SparseMemory() {
    if (ok()) ::munmap(data_, bytes_);
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  bool ok() const { return data_ != MAP_FAILED; }
  void* data() const { return data_; }

 private:
  std::size_t bytes_;
  void* data_;
};

TensorView view_of(void* data, DType dtype, std::initializer_list<std::int64_t> shape,
                   std::initializer_list<std::int64_t> strides) {
  TensorView view = TensorView::contiguous(data, dtype, shape);
  std::copy(strides.begin(), strides.end(), view.strides);
  return view;
}

void fill_random(const TensorView& t, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t a = 0; a < t.shape[0]; ++a) {
    for (std::int64_t b = 0; b < t.shape[1]; ++b) {
      for (std::int64_t c = 0; c < t.shape[2]; ++c) {
        for (std::int64_t d = 0; d < t.shape[3]; ++d) {
          const std::int64_t at = a * t.strides[0] + b * t.strides[1] + c * t.strides[2] + d * t.strides[3];
          const float value = normal(random);
          if (t.dtype == DType::kF32) static_cast<float*>(t.data)[at] = value;
          if (t.dtype == DType::kF16) static_cast<std::uint16_t*>(t.data)[at] = float_to_fp16(value);
          if (t.dtype == DType::kBF16) static_cast<std::uint16_t*>(t.data)[at] = float_to_bf16(value);
        }
      }
    }
  }
}

void expect_right(const AttentionTensors& t, const AttentionOptions& options, const std::string& isa) {
  Runtime runtime({.num_threads = 2, .cpu_isa = isa});
  attention_forward(runtime, t, options);
  const AttentionProblem problem = describe_attention(t, options);
  const AttentionReport report = verify_attention(attention_args(t, options.layout, problem), problem.dtype);
  EXPECT_TRUE(report.passed) << isa << ": " << to_string(problem) << "\n" << to_string(report);
}

std::vector<std::string> isas() {
  const cpu::InstructionSets has = cpu::detect_processor().has;
  std::vector<std::string> names = {"baseline"};
  if (has.avx2) names.push_back("avx2");
  if (has.avx512) names.push_back("avx512");
  if (has.avx512 && has.avx512_bf16) names.push_back("avx512bf16");
  if (has.avx512 && has.amx_tile && has.amx_bf16) names.push_back("amx");
  return names;
}

class MemoryShapes : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(, MemoryShapes, ::testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return dtype.param == DType::kF32 ? "fp32" : "bf16"; });

/// Each dimension in turn has the stride that leads beyond 2^31 elements: batch, sequence, heads.
TEST_P(MemoryShapes, offsets_beyond_2_to_the_31_are_reached) {
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) + 96;
  constexpr std::int64_t kSeqlen = 3, kDim = 32;
  const auto bytes = static_cast<std::size_t>((2 * kFar + 64 * kDim) * 4);
  const SparseMemory q(bytes), k(bytes), v(bytes), o(bytes);
  if (!q.ok() || !k.ok() || !v.ok() || !o.ok()) GTEST_SKIP() << "no 70 GB of address space here";
  const std::initializer_list<std::int64_t> far_strides[] = {
      {kFar, kDim * 2, kDim, 1}, {kDim * 2, kFar, kDim, 1}, {kDim * kSeqlen, kDim, kFar, 1}};
  for (const auto& strides : far_strides) {
    AttentionTensors t;
    t.q = view_of(q.data(), GetParam(), {2, kSeqlen, 2, kDim}, strides);
    t.k = view_of(k.data(), GetParam(), {2, kSeqlen, 2, kDim}, strides);
    t.v = view_of(v.data(), GetParam(), {2, kSeqlen, 2, kDim}, strides);
    t.o = view_of(o.data(), GetParam(), {2, kSeqlen, 2, kDim}, strides);
    fill_random(t.q, 1);
    fill_random(t.k, 2);
    fill_random(t.v, 3);
    for (const std::string& isa : isas()) expect_right(t, {.causal = true}, isa);
  }
}

TEST_P(MemoryShapes, one_key_and_value_tensor_serves_every_batch_and_head_through_strides_of_0) {
  std::vector<float> q(3 * 40 * 4 * 64), kv(70 * 64), o(q.size());
  AttentionTensors t;
  t.q = TensorView::contiguous(q.data(), GetParam(), {3, 40, 4, 64});
  t.k = view_of(kv.data(), GetParam(), {3, 70, 4, 64}, {0, 64, 0, 1});
  t.v = t.k;  // inputs may share memory
  t.o = TensorView::contiguous(o.data(), GetParam(), {3, 40, 4, 64});
  fill_random(t.q, 1);
  fill_random(t.k, 2);
  for (const std::string& isa : isas()) expect_right(t, {.window_left = 20, .window_right = 9}, isa);
}

TEST_P(MemoryShapes, one_key_row_repeated_through_a_stride_of_0) {
  std::vector<float> q(5 * 64), kv(64), o(q.size());
  AttentionTensors t;
  t.q = TensorView::contiguous(q.data(), GetParam(), {1, 5, 1, 64});
  t.k = t.v = view_of(kv.data(), GetParam(), {1, 33, 1, 64}, {64, 0, 64, 1});
  t.o = TensorView::contiguous(o.data(), GetParam(), {1, 5, 1, 64});
  fill_random(t.q, 1);
  fill_random(t.k, 2);
  for (const std::string& isa : isas()) expect_right(t, {}, isa);
}

}  // namespace
}  // namespace fovea
