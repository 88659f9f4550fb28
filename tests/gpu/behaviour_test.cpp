// SPDX-License-Identifier: Apache-2.0
// What holds beyond right numbers: the same bits on every run, graphs, streams, huge batches and offsets, host time.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <random>

#include "base/math.h"
#include "cuda/occupancy.h"
#include "fovea/matmul.h"
#include "tests/gpu/gpu.h"

namespace fovea::testing {
namespace {

/// A case that is neither tiny nor aligned: several tiles, an edge in each direction, grouped heads.
AttentionCase middling(DType dtype) {
  AttentionCase c;
  c.name = "middling";
  c.dtype = dtype;
  c.batch = 2;
  c.seqlen_q = 333;
  c.seqlen_k = 517;
  c.num_heads_q = 6;
  c.num_heads_kv = 2;
  c.head_dim = 128;
  c.causal = true;
  return c;
}

/// One query row over many keys: the keys are split and merged.
AttentionCase decoding(DType dtype) {
  AttentionCase c = middling(dtype);
  c.name = "decoding";
  c.batch = 1;
  c.seqlen_q = 1;
  c.seqlen_k = 8192;
  return c;
}

/// o and lse after one run on this stream.
std::vector<std::byte> run_once(CaseData& data, Stream stream) {
  reset_outputs(data);
  DeviceCase on_gpu(data);
  attention_forward(gpu().runtime, on_gpu.tensors(), data.options, stream);
  gpu().synchronize(stream);
  on_gpu.fetch();
  std::vector<std::byte> bytes = data.o.bytes;
  bytes.insert(bytes.end(), data.lse.bytes.begin(), data.lse.bytes.end());
  return bytes;
}

std::vector<std::byte> normal_elements(DType dtype, int count, float deviation) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<std::byte> bytes(static_cast<std::size_t>(count * size_bytes(dtype)));
  for (std::byte* to = bytes.data(); count-- > 0; to += size_bytes(dtype)) {
    const float x = normal(random);
    const std::uint16_t half = dtype == DType::kF16 ? float_to_fp16(x) : float_to_bf16(x);
    if (dtype == DType::kF32) {
      std::memcpy(to, &x, 4);
    } else {
      std::memcpy(to, &half, 2);
    }
  }
  return bytes;
}

class Behaviour : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, Behaviour, ::testing::Values(DType::kF16, DType::kBF16, DType::kF32),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

bool runs_here(DType dtype) { return dtype != DType::kBF16 || gpu().info().has_bf16_mma; }

TEST_P(Behaviour, every_run_gives_the_same_bits_on_every_stream) {
  if (!runs_here(GetParam())) GTEST_SKIP() << "this GPU has no bf16";
  for (const AttentionCase& c : {middling(GetParam()), decoding(GetParam())}) {
    CaseData data(c);
    const std::vector<std::byte> first = run_once(data, Stream{});
    EXPECT_EQ(judge(data), "");
    const OwnStream stream;
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(run_once(data, stream) == first) << c.name << " run " << i;
  }
}

TEST_P(Behaviour, a_captured_call_replays_with_the_same_bits) {
  if (!runs_here(GetParam())) GTEST_SKIP() << "this GPU has no bf16";
  for (const AttentionCase& c : {middling(GetParam()), decoding(GetParam())}) {
    CaseData data(c);
    const std::vector<std::byte> eager = run_once(data, Stream{});
    reset_outputs(data);
    DeviceCase on_gpu(data);
    const OwnStream stream;
    run_captured(stream, 3, [&] { attention_forward(gpu().runtime, on_gpu.tensors(), data.options, stream); });
    on_gpu.fetch();
    std::vector<std::byte> replayed = data.o.bytes;
    replayed.insert(replayed.end(), data.lse.bytes.begin(), data.lse.bytes.end());
    EXPECT_TRUE(replayed == eager) << c.name;
  }
}

/// Attention from x into y and a product of y back into x, twelve times without waiting in between: a kernel that is
/// launched under the one ahead of it must wait for its results, and not write what that one still reads.
TEST_P(Behaviour, calls_in_a_row_see_each_others_results) {
  if (!runs_here(GetParam())) GTEST_SKIP() << "this GPU has no bf16";
  constexpr int kHeads = 4, kDim = 64, kWidth = kHeads * kDim;
  const OwnStream stream;
  const DeviceCopy weights(normal_elements(GetParam(), kWidth * kWidth, 1.0f / 16));
  for (const int seqlen : {192, gpu().is_emulated() ? 65 : 2048}) {
    const std::vector<std::byte> x = normal_elements(GetParam(), seqlen * kWidth, 1.0f);
    const DeviceCopy x_there(x), y_there(x);
    const auto view = [](const DeviceCopy& copy, std::initializer_list<std::int64_t> shape) {
      return TensorView::contiguous(copy.data(), GetParam(), shape, {DeviceKind::kCUDA, 0});
    };
    const auto enqueue = [&](bool waits) {
      for (int i = 0; i < 12; ++i) {
        AttentionTensors t;
        t.q = t.k = t.v = view(x_there, {1, seqlen, kHeads, kDim});
        t.o = view(y_there, {1, seqlen, kHeads, kDim});
        attention_forward(gpu().runtime, t, {.causal = true}, stream);
        if (waits) gpu().synchronize(stream);
        MatmulTensors m;
        m.a = view(y_there, {seqlen, kWidth});
        m.b = view(weights, {kWidth, kWidth});
        m.d = view(x_there, {seqlen, kWidth});
        matmul(gpu().runtime, m, {}, stream);
        if (waits) gpu().synchronize(stream);
      }
    };
    enqueue(true);
    const auto expected = x_there.values<std::byte>();
    EXPECT_FALSE(expected == x);
    for (const bool captured : {false, false, true}) {
      x_there.put(std::as_bytes(std::span(x)));
      if (captured) {
        run_captured(stream, 1, [&] { enqueue(false); });
      } else {
        enqueue(false);
        gpu().synchronize(stream);
      }
      EXPECT_TRUE(x_there.values<std::byte>() == expected) << seqlen << (captured ? ", captured" : "");
    }
  }
}

TEST(Behaviour, batch_times_heads_may_exceed_65535) {
  AttentionCase c;
  c.name = "many small sequences";
  c.dtype = DType::kF16;
  c.batch = 8200;
  c.seqlen_q = 3;
  c.seqlen_k = 5;
  c.num_heads_q = c.num_heads_kv = 8;
  c.head_dim = 16;
  CaseData data(c);
  run_once(data, Stream{});
  EXPECT_EQ(judge(data), "");
}

/// The same numbers twice: densely, and with 2^31 + 128 elements between the two sequences of the batch.
TEST(Behaviour, offsets_beyond_two_to_the_31_reach_the_right_memory) {
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) + 128;
  constexpr int kRows = 65, kHeads = 2, kDim = 64;
  constexpr std::int64_t kElements = std::int64_t{kRows} * kHeads * kDim;
  const std::size_t far_bytes = static_cast<std::size_t>(kFar + kElements) * 2;
  if (gpu().info().memory_bytes < static_cast<std::int64_t>(5 * far_bytes)) GTEST_SKIP() << "needs 22 GB of GPU memory";
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const cuda::ScopedContext scope(gpu().device());
  std::vector<cuda::DeviceBuffer> dense, spread;
  for (int tensor = 0; tensor < 4; ++tensor) {
    std::vector<std::uint16_t> values(2 * kElements);
    for (std::uint16_t& x : values) x = float_to_fp16(normal(random));
    dense.emplace_back(gpu().device(), values.size() * 2);
    spread.emplace_back(gpu().device(), far_bytes);
    const auto put = [&](cuda::CUdeviceptr to, const std::uint16_t* from, std::size_t n) {
      gpu().check(gpu().api().cuMemcpyHtoDAsync(to, from, n * 2, nullptr), "cuMemcpyHtoDAsync");
    };
    put(dense.back().address(), values.data(), values.size());
    put(spread.back().address(), values.data(), kElements);
    put(spread.back().address() + kFar * 2, values.data() + kElements, kElements);
    gpu().synchronize();
  }
  const auto run = [&](const std::vector<cuda::DeviceBuffer>& buffers, std::int64_t stride_batch) {
    AttentionTensors t;
    TensorView* views[] = {&t.q, &t.k, &t.v, &t.o};
    for (int i = 0; i < 4; ++i) {
      *views[i] = TensorView::contiguous(buffers[static_cast<std::size_t>(i)].data(), DType::kF16,
                                         {2, kRows, kHeads, kDim}, {DeviceKind::kCUDA, 0});
      views[i]->strides[0] = stride_batch;
    }
    attention_forward(gpu().runtime, t, {.causal = true});
    gpu().synchronize();
    std::vector<std::uint16_t> o(2 * kElements);
    for (int b = 0; b < 2; ++b) {
      gpu().check(gpu().api().cuMemcpyDtoHAsync(o.data() + b * kElements,
                                                buffers[3].address() + static_cast<std::size_t>(b * stride_batch) * 2,
                                                kElements * 2, nullptr),
                  "cuMemcpyDtoHAsync");
    }
    gpu().synchronize();
    return o;
  };
  EXPECT_TRUE(run(dense, kElements) == run(spread, kFar));
}

TEST(Behaviour, the_callers_context_stays_current) {
  cuda::CUcontext before = nullptr, after = nullptr;
  gpu().check(gpu().api().cuCtxGetCurrent(&before), "cuCtxGetCurrent");
  CaseData data(middling(DType::kF16));
  run_once(data, Stream{});
  gpu().check(gpu().api().cuCtxGetCurrent(&after), "cuCtxGetCurrent");
  EXPECT_EQ(before, after);
}

TEST(Behaviour, our_occupancy_is_the_drivers) {
  if (gpu().is_emulated()) GTEST_SKIP() << "an emulated GPU has no occupancy of its own";
  const auto kernel = gpu().kernel("contract/host_device.h", "empty", "int* p", "if (p) *p = config;", 1024);
  const cuda::ScopedContext scope(gpu().device());
  for (const int threads : {32, 64, 96, 128, 160, 256, 384, 512, 1024}) {
    for (int shared = 0; shared <= 48 << 10; shared += 1111) {
      int driver = 0;
      gpu().check(gpu().api().cuOccupancyMaxActiveBlocksPerMultiprocessor(&driver, kernel->function, threads,
                                                                          static_cast<std::size_t>(shared)),
                  "cuOccupancyMaxActiveBlocksPerMultiprocessor");
      EXPECT_EQ(cuda::occupancy(gpu().info(), {threads, kernel->registers_per_thread, shared}).blocks_per_sm, driver)
          << threads << " threads, " << shared << " bytes";
    }
  }
}

/// Measured on the host: a planned call against a bare cuLaunchKernelEx of the same kernel's size of arguments.
TEST(Behaviour, a_planned_call_costs_little_host_time) {
  if (gpu().is_emulated()) GTEST_SKIP() << "an emulated GPU runs the kernel inside of the call";
  AttentionCase c = middling(DType::kF16);
  c.batch = 1;
  c.seqlen_q = c.seqlen_k = 16;
  CaseData data(c);
  DeviceCase on_gpu(data);
  const AttentionTensors tensors = on_gpu.tensors();
  const auto kernel =
      gpu().kernel("contract/attention_args.h", "take_arguments", "const __grid_constant__ AttentionArgs args",
                   "if (args.batch < config) *static_cast<int*>(args.output.o) = 1;", 32);
  const AttentionArgs args;
  const OwnStream stream;
  const cuda::ScopedContext scope(gpu().device());
  const auto time_us = [&](auto&& call) {
    double best = 1e9;
    for (int round = 0; round < 20; ++round) {
      gpu().synchronize(stream);
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < 200; ++i) call();  // fewer than the launch queue holds: nothing waits for the GPU
      best = std::min(
          best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / 200);
    }
    return best;
  };
  cuda::CUlaunchConfig native = {};
  native.gridDimX = native.gridDimY = native.gridDimZ = native.blockDimY = native.blockDimZ = 1;
  native.blockDimX = 32;
  native.hStream = stream.native();
  void* parameters[] = {const_cast<AttentionArgs*>(&args)};
  const double bare = time_us([&] { gpu().api().cuLaunchKernelEx(&native, kernel->function, parameters, nullptr); });
  const double planned = time_us([&] { attention_forward(gpu().runtime, tensors, data.options, stream); });
  std::printf("planned call %.2f us, bare cuLaunchKernelEx %.2f us, ours %.2f us\n", planned, bare, planned - bare);
  EXPECT_LT(planned - bare, 2.0);
}

}  // namespace
}  // namespace fovea::testing
