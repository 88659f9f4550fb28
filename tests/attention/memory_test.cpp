// SPDX-License-Identifier: Apache-2.0
// O(seqlen) memory: what a call needs beside its tensors does not grow with seqlen_q * seqlen_k. At seqlen 65536 one
// fp32 matrix of scores would be 16 GiB; a call gets 16 MiB. Measured in a child process, by the kernel's own
// high-water mark.
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/math.h"
#include "contract/dtype.h"
#include "fovea/attention.h"
#include "fovea/runtime.h"

namespace fovea {
namespace {

// Working memory is per thread, up to 2.4 MiB of it (AMX); nothing else may be of any size.
constexpr int kThreads = 4;
constexpr std::int64_t kAllowedBytes = (4 + 3 * kThreads) << 20;

/// "VmHWM" or "VmRSS" of this process in bytes.
std::int64_t status_bytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  return -1;
}

/// Runs `work` in a child; the bytes by which its resident memory rose at most, or nothing if it failed.
std::optional<std::int64_t> peak_growth_in_child(const std::function<void()>& prepare,
                                                 const std::function<void()>& work) {
  int ends[2];
  if (pipe(ends) != 0) return std::nullopt;
  const pid_t child = fork();
  if (child == 0) {
    std::int64_t growth = -1;
    try {
      prepare();
      std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts anew from here
      const std::int64_t before = status_bytes("VmRSS");
      work();
      growth = status_bytes("VmHWM") - before;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    _exit(growth >= 0 && write(ends[1], &growth, sizeof growth) == sizeof growth ? 0 : 1);
  }
  close(ends[1]);
  std::int64_t growth = -1;
  const bool told = read(ends[0], &growth, sizeof growth) == sizeof growth;
  close(ends[0]);
  int status = -1;
  waitpid(child, &status, 0);
  if (!told || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return growth;
}

struct Shape {
  DType dtype;
  int seqlen_q, seqlen_k;
  bool causal = false;
  std::optional<int> window_left = std::nullopt;
};

/// One head of 64, every value 0.5: each row of o is 0.5 whatever the mask.
std::optional<std::int64_t> growth_of_a_call(const Shape& shape) {
  const std::int64_t head_dim = 64;
  std::vector<std::uint8_t> q, k, v, o;
  const auto fill = [&](std::vector<std::uint8_t>* x, std::int64_t rows) {
    const auto elements = static_cast<std::size_t>(rows * head_dim);
    x->resize(elements * static_cast<std::size_t>(size_bytes(shape.dtype)));
    for (std::size_t i = 0; i < elements; ++i) {
      if (shape.dtype == DType::kF32) {
        reinterpret_cast<float*>(x->data())[i] = 0.5f;
      } else {
        reinterpret_cast<std::uint16_t*>(x->data())[i] = float_to_bf16(0.5f);
      }
    }
  };
  std::optional<Runtime> runtime;
  const auto prepare = [&] {
    runtime.emplace(RuntimeOptions{.num_threads = kThreads});
    fill(&q, shape.seqlen_q);
    fill(&k, shape.seqlen_k);
    fill(&v, shape.seqlen_k);
    o.assign(q.size(), 0xff);
  };
  const auto work = [&] {
    AttentionTensors t;
    t.q = TensorView::contiguous(q.data(), shape.dtype, {1, shape.seqlen_q, 1, head_dim});
    t.k = TensorView::contiguous(k.data(), shape.dtype, {1, shape.seqlen_k, 1, head_dim});
    t.v = TensorView::contiguous(v.data(), shape.dtype, {1, shape.seqlen_k, 1, head_dim});
    t.o = TensorView::contiguous(o.data(), shape.dtype, {1, shape.seqlen_q, 1, head_dim});
    AttentionOptions options;
    options.causal = shape.causal;
    options.window_left = shape.window_left;
    attention_forward(*runtime, t, options);
    const auto* last = o.data() + o.size() - static_cast<std::size_t>(size_bytes(shape.dtype));
    const float got = shape.dtype == DType::kF32 ? *reinterpret_cast<const float*>(last)
                                                 : bf16_to_float(*reinterpret_cast<const std::uint16_t*>(last));
    if (std::fabs(got - 0.5f) > 1e-2f) throw std::runtime_error("o is " + std::to_string(got) + ", not 0.5");
  };
  return peak_growth_in_child(prepare, work);
}

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer's own memory would be counted";
#endif
  }
};

TEST_F(Memory, of_a_window_over_65536_rows_does_not_grow_with_their_square) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const auto growth = growth_of_a_call({dtype, 65536, 65536, true, 512});
    ASSERT_TRUE(growth) << name_of(dtype);
    EXPECT_LT(*growth, kAllowedBytes) << name_of(dtype);
  }
}

TEST_F(Memory, of_4096_rows_that_see_65536_keys_does_not_grow_with_the_product) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const auto growth = growth_of_a_call({dtype, 4096, 65536, true});
    ASSERT_TRUE(growth) << name_of(dtype);
    EXPECT_LT(*growth, kAllowedBytes) << name_of(dtype);
  }
}

TEST_F(Memory, of_one_row_split_over_65536_keys_stays_small) {
  const auto growth = growth_of_a_call({DType::kF32, 1, 65536});
  ASSERT_TRUE(growth);
  EXPECT_LT(*growth, kAllowedBytes);
}

TEST_F(Memory, the_test_sees_memory_that_is_taken_and_given_back) {
  const auto growth = peak_growth_in_child([] {},
                                           [] {
                                             std::vector<char> block(64 << 20, 1);
                                             asm volatile("" : : "r"(block.data()) : "memory");
                                           });
  ASSERT_TRUE(growth);
  EXPECT_GT(*growth, 60 << 20);
}

}  // namespace
}  // namespace fovea
