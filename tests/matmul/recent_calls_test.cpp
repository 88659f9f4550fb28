// SPDX-License-Identifier: Apache-2.0
// Calls that are like the one before, and calls that only seem so.
#include "matmul/recent_calls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fovea/error.h"
#include "fovea/runtime.h"
#include "runtime.h"
#include "tests/support/matmul_cases.h"

namespace fovea {
namespace {

using testing::MatmulCase;
using testing::MatmulData;

bool would_be_taken(Runtime& runtime, const MatmulData& data) {
  const MatmulTensors tensors = data.tensors();
  return recent_matmul(tensors).takes(tensors, data.options, runtime.impl().matmul_plans.stamp());
}

TEST(RecentMatmul, a_case_at_other_addresses_is_right) {
  Runtime runtime({.num_threads = 1});
  int taken = 0, all = 0;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kE4M3}) {
    for (const MatmulCase& c : testing::matmul_cases(dtype)) {
      if (!c.quick) continue;
      MatmulData first(c), second(c, /*seed=*/2);
      const ExpectedMatmul expected = expect(second);
      matmul(runtime, first.tensors(), first.options);
      taken += would_be_taken(runtime, second);
      ++all;
      matmul(runtime, second.tensors(), second.options);
      EXPECT_EQ(judge(second, expected), "");
    }
  }
  EXPECT_EQ(taken, all);
}

TEST(RecentMatmul, every_change_of_a_call_counts) {
  Runtime runtime({.num_threads = 1});
  MatmulCase base;
  base.name = "changes", base.m = 20, base.n = 32, base.k = 24;
  base.has_c = base.has_bias = true, base.beta = 0.5f;
  std::vector<MatmulCase> changed(9, base);
  changed[0].alpha = -1.0f;
  changed[1].beta = 2.0f;
  changed[2].activation = Activation::kSilu;
  changed[3].a_order = testing::Order::kGappyRows;
  changed[4].b_order = testing::Order::kColumns;
  changed[5].d_order = testing::Order::kColumns;
  changed[6].c_is_d = true;
  changed[7].has_bias = false;
  changed[8].bias_dtype = DType::kF16;
  for (const MatmulCase& c : changed) {
    MatmulData before(base), data(c);
    const ExpectedMatmul expected = expect(data);
    matmul(runtime, before.tensors(), before.options);
    EXPECT_FALSE(would_be_taken(runtime, data)) << to_string(c);
    matmul(runtime, data.tensors(), data.options);
    EXPECT_EQ(judge(data, expected), "");
  }
}

TEST(RecentMatmul, what_must_be_refused_still_is) {
  Runtime runtime({.num_threads = 1});
  std::vector<float> memory(8192, 1.0f);
  float* const base = memory.data();
  const auto view = [&](int at) { return TensorView::contiguous(base + at, DType::kF32, {32, 32}); };
  const MatmulTensors good = {view(0), view(1024), view(2048), {}, {}};
  matmul(runtime, good);
  const auto refused = [&](const MatmulTensors& tensors, const char* field, const char* text) {
    matmul(runtime, good);
    try {
      matmul(runtime, tensors);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.field(), field);
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  MatmulTensors bad = good;
  bad.d = view(1024 + 512);
  refused(bad, "d", "d overlaps b");
  bad = good;
  bad.a = view(2048 - 992);
  refused(bad, "d", "d overlaps a");
  bad = good;
  bad.a.data = nullptr;
  refused(bad, "a", "null data");
  bad = good;
  bad.b.data = reinterpret_cast<char*>(base + 1024) + 2;
  refused(bad, "b", "no multiple of its 4-byte elements");
  bad = good;
  bad.d.shape[1] = 31;
  refused(bad, "d", "must end in (32, 32)");
}

TEST(RecentMatmul, another_runtime_and_a_tuned_one_plan_anew) {
  MatmulCase c;
  c.name = "plans", c.m = 40, c.n = 70, c.k = 50;
  const MatmulData data(c);
  {
    Runtime runtime({.num_threads = 1});
    EXPECT_FALSE(would_be_taken(runtime, data));
    matmul(runtime, data.tensors(), data.options);
    EXPECT_TRUE(would_be_taken(runtime, data));
    runtime.impl().matmul_plans.clear();
    EXPECT_FALSE(would_be_taken(runtime, data));
  }
  Runtime other({.num_threads = 1, .cpu_isa = "baseline"});
  EXPECT_FALSE(would_be_taken(other, data));
}

}  // namespace
}  // namespace fovea
