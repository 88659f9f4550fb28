// SPDX-License-Identifier: Apache-2.0
// Bad conditions on a machine with a GPU: each its own clear error.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "fovea/error.h"
#include "tests/gpu/gpu.h"
#include "tests/gpu/poison.h"

namespace fovea::testing {
namespace {

AttentionCase small() {
  AttentionCase c;
  c.name = "small";
  c.dtype = DType::kF16;
  c.seqlen_q = c.seqlen_k = 64;
  return c;
}

template <typename Function>
std::string error_of(Function&& call, ErrorCode code) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

void expect_word(const std::string& text, const char* word) {
  EXPECT_NE(text.find(word), std::string::npos) << "no '" << word << "' in: " << text;
}

TEST(Errors, a_device_that_is_not_there) {
  CaseData data(small());
  AttentionTensors t = DeviceCase(data).tensors();
  for (TensorView* view : {&t.q, &t.k, &t.v, &t.o, &t.lse}) view->device.index = 99;
  expect_word(error_of([&] { attention_forward(gpu().runtime, t, data.options); }, ErrorCode::kInvalidArgument),
              "GPU 99");
}

TEST(Errors, tensors_on_different_devices) {
  CaseData data(small());
  const DeviceCase on_gpu(data);
  AttentionTensors t = on_gpu.tensors();
  t.k = data.tensors().k;
  error_of([&] { attention_forward(gpu().runtime, t, data.options); }, ErrorCode::kInvalidArgument);
}

TEST(Errors, no_nvrtc_and_nothing_compiled) {
  CaseData data(small());
  const DeviceCase on_gpu(data);
  std::string folder = (std::filesystem::temp_directory_path() / "fovea-empty-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const char* before = std::getenv("FOVEA_NVRTC");
  const std::string kept = before ? before : "";
  setenv("FOVEA_NVRTC", "/nowhere/libnvrtc.so", 1);
  RuntimeOptions options;
  options.cache_dir = folder;
  {
    Runtime runtime(options);
    const std::string message =
        error_of([&] { attention_forward(runtime, on_gpu.tensors(), data.options); }, ErrorCode::kCompile);
    expect_word(message, "NVRTC was not found");
    expect_word(message, "pip install nvidia-cuda-nvrtc");
  }
  if (kept.empty()) {
    unsetenv("FOVEA_NVRTC");
  } else {
    setenv("FOVEA_NVRTC", kept.c_str(), 1);
  }
  std::filesystem::remove_all(folder);
}

TEST(Errors, more_memory_than_there_is) {
  const auto bytes = static_cast<std::size_t>(gpu().info().memory_bytes) * 2;
  const std::string message = error_of([&] { cuda::DeviceBuffer(gpu().device(), bytes); }, ErrorCode::kCuda);
  expect_word(message, "CUDA_ERROR_OUT_OF_MEMORY");
  expect_word(message, "free memory");
}

TEST(Errors, a_tile_beyond_the_shared_memory) {
  CaseData data(small());
  const DeviceCase on_gpu(data);
  AttentionOptions options = data.options;
  options.tile = {.block_q = 128, .block_k = 4096, .stages = 4, .warps = 4};
  options.kernel = "attention_forward_sm80";  // others may refuse such a tile for other reasons
  error_of([&] { attention_forward(gpu().runtime, on_gpu.tensors(), options); }, ErrorCode::kUnsupported);
}

TEST(Errors, a_stream_of_another_device) {
  if (gpu().runtime.impl().devices.count() < 2) GTEST_SKIP() << "needs two GPUs";
  CaseData data(small());
  const DeviceCase on_gpu(data);
  cuda::CUstream stream = nullptr;
  const cuda::ScopedContext scope(gpu().runtime.impl().devices.context(1));
  gpu().check(gpu().api().cuStreamCreate(&stream, 0), "cuStreamCreate");
  expect_word(error_of([&] { attention_forward(gpu().runtime, on_gpu.tensors(), data.options, {stream}); },
                       ErrorCode::kInvalidArgument),
              "stream belongs to GPU 1");
  gpu().api().cuStreamDestroy(stream);
}

TEST(Errors, a_poisoned_context) {
  // In a process of its own: nothing runs in a poisoned one.
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  EXPECT_EQ(std::system((self + " " + kPoisonFlag).c_str()), 0);
}

}  // namespace
}  // namespace fovea::testing
