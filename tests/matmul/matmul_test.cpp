// SPDX-License-Identifier: Apache-2.0
// Matrix multiplication from the front door: the case table, on every instruction set of this processor and with one
// and several threads.
#include "fovea/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/math.h"
#include "contract/dtype.h"
#include "cpu/isa.h"
#include "fovea/error.h"
#include "fovea/runtime.h"
#include "tests/support/matmul_cases.h"

namespace fovea {
namespace {

using testing::MatmulCase;
using testing::MatmulData;

TEST(Matmul, the_case_table_is_right_on_every_instruction_set_and_number_of_threads) {
  const cpu::Processor processor = cpu::detect_processor();
  for (const auto& [dtype, math] : {std::pair{DType::kF32, Math::kExact},
                                    {DType::kF32, Math::kFast},
                                    {DType::kF16, Math::kExact},
                                    {DType::kBF16, Math::kExact},
                                    {DType::kE4M3, Math::kExact}}) {
    for (const MatmulCase& c : testing::matmul_cases(dtype, math)) {
      MatmulData data(c);
      const ExpectedMatmul expected = expect(data);
      for (const cpu::Unit& unit : cpu::units()) {
        if (!unit.runs_on(processor.has)) continue;
        for (const int threads : {1, 3}) {
          static std::map<std::pair<std::string_view, int>, std::unique_ptr<Runtime>> runtimes;
          auto& runtime = runtimes[{unit.name, threads}];
          if (!runtime) runtime = std::make_unique<Runtime>(RuntimeOptions{threads, std::string(unit.name), {}, {}});
          data.reset();
          matmul(*runtime, data.tensors(), data.options);
          EXPECT_EQ(judge(data, expected), "") << unit.name << ", " << threads << " threads";
        }
      }
    }
  }
}

/// A fp32 product of ones: every element of d is k.
struct Ones {
  int m, n, k;
  std::vector<float> a, b, d;
  Ones(int rows, int columns, int depth)
      : m(rows),
        n(columns),
        k(depth),
        a(static_cast<std::size_t>(m) * k, 1.0f),
        b(static_cast<std::size_t>(k) * n, 1.0f),
        d(static_cast<std::size_t>(m) * n, -1.0f) {}
  MatmulTensors tensors() {
    return {TensorView::contiguous(a.data(), DType::kF32, {m, k}),
            TensorView::contiguous(b.data(), DType::kF32, {k, n}),
            TensorView::contiguous(d.data(), DType::kF32, {m, n}),
            {},
            {}};
  }
  bool is_right() const {
    return std::all_of(d.begin(), d.end(), [this](float x) { return x == static_cast<float>(k); });
  }
};

TEST(Matmul, every_candidate_and_any_block_sizes_give_the_right_result) {
  Runtime runtime({.num_threads = 3});
  for (const auto& [m, n, k] : {std::tuple{130, 200, 700}, {9, 700, 1300}, {1000, 33, 90}}) {
    Ones ones(m, n, k);
    std::vector<MatmulTile> tiles = matmul_candidates(runtime, ones.tensors());
    ASSERT_GE(tiles.size(), 2u);
    for (const auto& [block_m, block_n, block_k] :
         {std::tuple{64, 64, 32}, {1, 1, 1}, {7, 100, 333}, {4096, 4096, 4096}}) {
      tiles.push_back({.block_m = block_m, .block_n = block_n, .block_k = block_k});
    }
    for (const MatmulTile& tile : tiles) {
      std::fill(ones.d.begin(), ones.d.end(), -1.0f);
      matmul(runtime, ones.tensors(), {.tile = tile});
      EXPECT_TRUE(ones.is_right()) << m << " x " << n << " x " << k << " in " << tile.block_m << " x " << tile.block_n
                                   << " x " << tile.block_k;
    }
  }
}

TEST(Matmul, fast_math_says_what_it_is_and_is_judged_as_TF32) {
  MatmulCase c;
  c.m = 40, c.n = 50, c.k = 300;
  Runtime runtime({.num_threads = 1});
  MatmulData exact(c);
  c.math = Math::kFast;
  MatmulData fast(c);
  EXPECT_NE(matmul_explain(runtime, fast.tensors(), fast.options).find("true fp32 although math = fast"),
            std::string::npos);
  EXPECT_EQ(matmul_explain(runtime, exact.tensors(), exact.options).find("fast"), std::string::npos);
  // A product of operands rounded to TF32 passes where TF32 was allowed, and only there.
  const ExpectedMatmul as_fp32 = expect(exact), as_tf32 = expect(fast);
  for (MatmulData* data : {&exact, &fast}) {
    for (testing::HostTensor* t : {&data->a, &data->b}) {
      auto* x = static_cast<float*>(t->view.data);
      for (std::int64_t i = 0; i < t->view.shape[0] * t->view.shape[1]; ++i) x[i] = round_to_tf32(x[i]);
    }
    matmul(runtime, data->tensors(), data->options);
  }
  EXPECT_NE(judge(exact, as_fp32), "");
  EXPECT_EQ(judge(fast, as_tf32), "");
}

TEST(Matmul, a_block_beyond_the_limit_is_refused_with_the_limit) {
  Runtime runtime({.num_threads = 1});
  Ones ones(8, 8, 8);
  try {
    matmul(runtime, ones.tensors(), {.tile = {.block_m = 8, .block_n = 8, .block_k = 1 << 20}});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "tile");
    EXPECT_NE(std::string(error.what()).find("block_k is 1048576, must be 1 to 65536"), std::string::npos)
        << error.what();
  }
}

TEST(Matmul, the_same_bits_with_any_number_of_threads_and_any_run) {
  std::vector<float> first;
  for (const int threads : {1, 1, 2, 5}) {
    Runtime runtime({.num_threads = threads});
    MatmulData data({.name = "bits", .m = 301, .n = 517, .k = 1290});
    MatmulOptions options;
    options.tile = {.block_m = 120, .block_n = 128, .block_k = 512};
    matmul(runtime, data.tensors(), options);
    const auto* d = static_cast<const float*>(data.d.view.data);
    const std::vector<float> bits(d, d + 301 * 517);
    if (first.empty()) first = bits;
    EXPECT_EQ(std::memcmp(first.data(), bits.data(), bits.size() * sizeof(float)), 0) << threads;
  }
}

TEST(Matmul, what_is_remembered_is_chosen_by_later_runtimes_and_only_there) {
  char name[] = "/tmp/fovea_matmul_XXXXXX";
  const std::string cache = mkdtemp(name);
  Ones ones(100, 300, 700);
  MatmulTile tile;
  {
    Runtime runtime({.num_threads = 1, .cache_dir = cache});
    const auto tiles = matmul_candidates(runtime, ones.tensors());
    tile = tiles.back();
    ASSERT_NE(tile, tiles.front());
    EXPECT_NE(matmul_explain(runtime, ones.tensors(), {}).find("first candidate"), std::string::npos);
    matmul(runtime, ones.tensors());  // its plan must not outlive what is remembered
    matmul_remember(runtime, ones.tensors(), {}, tile);
    EXPECT_NE(matmul_explain(runtime, ones.tensors(), {}).find("tuning table"), std::string::npos);
    MatmulTile strange = tile;
    strange.block_m = 12345;
    EXPECT_THROW(matmul_remember(runtime, ones.tensors(), {}, strange), Error);
  }
  Runtime later({.num_threads = 1, .cache_dir = cache});
  EXPECT_NE(matmul_explain(later, ones.tensors(), {}).find("tuning table"), std::string::npos);
  matmul(later, ones.tensors());
  EXPECT_TRUE(ones.is_right());
  Runtime other_threads({.num_threads = 2, .cache_dir = cache});
  EXPECT_EQ(matmul_explain(other_threads, ones.tensors(), {}).find("tuning table"), std::string::npos);
  Ones other_shape(200, 300, 700);
  EXPECT_EQ(matmul_explain(later, other_shape.tensors(), {}).find("tuning table"), std::string::npos);
  std::filesystem::remove_all(cache);
}

TEST(Matmul, timing_says_why_a_tile_is_refused_and_writes_nothing_of_the_callers) {
  Runtime runtime({.num_threads = 1});
  Ones ones(64, 64, 64);
  const auto timings = matmul_time(
      runtime, ones.tensors(), {},
      {{.block_m = 64, .block_n = 64, .block_k = 64}, {.block_m = 64, .block_n = 64, .block_k = 1 << 20}}, 0.002);
  ASSERT_EQ(timings.size(), 2u);
  EXPECT_GT(timings[0].seconds, 0.0);
  EXPECT_EQ(timings[1].seconds, 0.0);
  EXPECT_NE(timings[1].failure.find("block_k"), std::string::npos);
  EXPECT_EQ(ones.d.front(), -1.0f);
}

}  // namespace
}  // namespace fovea
