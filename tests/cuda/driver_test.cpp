// SPDX-License-Identifier: Apache-2.0
#include "cuda/driver.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <limits>

#include "cuda/devices.h"
#include "cuda/launch.h"
#include "cuda/memory.h"
#include "fovea/error.h"
#include "tests/cuda/fake_driver.h"

namespace fovea::cuda {
namespace {

class DriverTest : public testing::Test {
 protected:
  void SetUp() override {
    void* handle = dlopen(FOVEA_FAKE_DRIVER, RTLD_NOW);
    ASSERT_NE(handle, nullptr) << dlerror();
    fake = reinterpret_cast<FakeDriver* (*)()>(dlsym(handle, "fake_driver"))();
    *fake = {};
    fake->attributes = {{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8},
                        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 9},
                        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 101376},
                        {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1}};
  }
  static Stream stream(std::intptr_t handle) { return {reinterpret_cast<void*>(handle)}; }
  void add_stream(std::intptr_t handle, std::intptr_t context) {
    fake->stream_contexts[reinterpret_cast<CUstream>(handle)] = reinterpret_cast<CUcontext>(context);
  }
  FakeDriver* fake = nullptr;
};

template <typename Function>
std::string error_of(Function&& function, ErrorCode code) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << "no '" << word << "' in: " << text;
}

TEST_F(DriverTest, absence_is_a_value_with_a_reason) {
  const Driver driver = load_driver("libcuda_that_is_not_there.so.1");
  EXPECT_FALSE(driver.present());
  expect_words(driver.absence, {"no NVIDIA driver", "libcuda_that_is_not_there.so.1"});
  Devices devices("libcuda_that_is_not_there.so.1");
  EXPECT_EQ(devices.count(), 0);
  expect_words(error_of([&] { devices.info(0); }, ErrorCode::kUnsupported), {"no GPU can be used", "not found"});
}

TEST_F(DriverTest, an_old_driver_and_one_without_gpus_say_so) {
  fake->version = 11080;
  expect_words(load_driver(FOVEA_FAKE_DRIVER).absence, {"too old", "11.8", "12.0", "update"});
  fake->version = 12040;
  fake->hidden = "cuLaunchKernelEx";
  expect_words(load_driver(FOVEA_FAKE_DRIVER).absence, {"too old", "lacks cuLaunchKernelEx"});
  fake->hidden = "";
  fake->init_result = CUDA_ERROR_NO_DEVICE;
  expect_words(load_driver(FOVEA_FAKE_DRIVER).absence, {"no GPU", "CUDA_VISIBLE_DEVICES"});
  fake->init_result = 803;
  expect_words(load_driver(FOVEA_FAKE_DRIVER).absence, {"cuInit", "803"});
  fake->init_result = CUDA_ERROR_NOT_INITIALIZED;  // what a child gets whose parent used CUDA
  expect_words(load_driver(FOVEA_FAKE_DRIVER).absence, {"forked after CUDA", "spawn"});
}

TEST_F(DriverTest, a_forked_child_is_told_why_cuda_fails) {
  Devices devices(FOVEA_FAKE_DRIVER);
  const auto kernel = load_kernel(devices.context(0), {}, "toy");
  fake->results["cuLaunchKernelEx"] = CUDA_ERROR_NOT_INITIALIZED;
  const auto launch_here = [&] { launch(*kernel, {.blocks = 1, .threads = 32}, Stream{}, 0); };
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::string said = error_of(launch_here, ErrorCode::kUnsupported);
    expect_words(said, {"cuLaunchKernelEx", "forked after CUDA", "spawn"});
    _exit(HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  EXPECT_EQ(error_of(launch_here, ErrorCode::kCuda).find("forked"), std::string::npos) << "the parent was not forked";
}

TEST_F(DriverTest, describes_a_device_with_the_features_of_its_generation) {
  Devices devices(FOVEA_FAKE_DRIVER);
  const DeviceInfo& info = devices.info(1);
  EXPECT_EQ(info.architecture, "sm_89");
  EXPECT_EQ(info.name, "Fake GPU");
  EXPECT_EQ(info.device.index, 1);
  EXPECT_TRUE(info.has_fp8_mma);
  EXPECT_FALSE(info.has_tma);
  EXPECT_EQ(fake->count("cuDevicePrimaryCtxRetain"), 0) << "a description needs no context";
  expect_words(error_of([&] { devices.info(2); }, ErrorCode::kInvalidArgument), {"GPU 2", "sees 2"});
}

TEST_F(DriverTest, a_launch_runs_in_the_context_of_the_tensors_device_and_leaves_the_callers_current) {
  Devices devices(FOVEA_FAKE_DRIVER);
  const auto callers = reinterpret_cast<CUcontext>(0x1000);
  fake->context_stack = {callers};
  const auto kernel = load_kernel(devices.context(1), {}, "toy", 90000);
  EXPECT_EQ(fake->count("cuKernelSetAttribute"), 1);
  launch(*kernel, {.blocks = 70000, .threads = 128, .shared_bytes = 90000, .cluster = 2, .programmatic = true},
         Stream{}, 1);
  EXPECT_EQ(fake->last_launch_context, reinterpret_cast<CUcontext>(0x2000));
  EXPECT_EQ(fake->last_function, kernel->function);
  EXPECT_EQ(fake->last_launch.gridDimX, 70000u);
  EXPECT_EQ(fake->last_launch.sharedMemBytes, 90000u);
  EXPECT_EQ(fake->last_attributes, (std::vector{CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                                                CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION}));
  EXPECT_EQ(fake->context_stack, std::vector{callers});
  EXPECT_EQ(fake->count("cuKernelSetAttribute"), 1) << "set once, not per launch";
}

TEST_F(DriverTest, a_stream_of_another_device_is_refused_and_one_of_another_context_is_served) {
  Devices devices(FOVEA_FAKE_DRIVER);
  const auto kernel = load_kernel(devices.context(0), {}, "toy");
  add_stream(0x50, 0x1000);
  add_stream(0x51, 0x2000);
  add_stream(0x52, 0x1004);
  launch(*kernel, {.blocks = 1, .threads = 32}, stream(0x50));
  EXPECT_EQ(fake->last_function, kernel->function);
  expect_words(
      error_of([&] { launch(*kernel, {.blocks = 1, .threads = 32}, stream(0x51)); }, ErrorCode::kInvalidArgument),
      {"stream belongs to GPU 1", "tensors are on GPU 0"});
  EXPECT_TRUE(fake->context_stack.empty());
  launch(*kernel, {.blocks = 1, .threads = 32}, stream(0x52));
  EXPECT_EQ(fake->last_launch_context, reinterpret_cast<CUcontext>(0x1004));
  EXPECT_EQ(static_cast<void*>(fake->last_function), static_cast<void*>(kernel->kernel));
}

TEST_F(DriverTest, failures_name_the_call_the_kernel_and_the_error) {
  Devices devices(FOVEA_FAKE_DRIVER);
  const auto kernel = load_kernel(devices.context(0), {}, "toy");
  const auto run = [&] { launch(*kernel, {.blocks = 1, .threads = 32}, Stream{}); };
  fake->results["cuLaunchKernelEx"] = 701;
  expect_words(error_of(run, ErrorCode::kCuda), {"cuLaunchKernelEx", "toy", "701", "as the driver words it"});
  fake->results["cuLaunchKernelEx"] = 700;
  expect_words(error_of(run, ErrorCode::kCuda), {"CUDA_ERROR_ILLEGAL_ADDRESS", "poisoned", "restart"});
  fake->results["cuMemAlloc"] = CUDA_ERROR_OUT_OF_MEMORY;
  expect_words(error_of([&] { DeviceBuffer(devices.context(0), 3 << 20); }, ErrorCode::kCuda),
               {"3.0 MiB", "GPU 0", "free memory"});
  fake->results["cuLibraryLoadData"] = CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  expect_words(error_of([&] { load_kernel(devices.context(0), {}, "toy"); }, ErrorCode::kCuda),
               {"toy on GPU 0", "newer driver"});
}

TEST_F(DriverTest, too_much_shared_memory_and_too_many_blocks_are_refused_before_the_driver_is_asked) {
  Devices devices(FOVEA_FAKE_DRIVER);
  fake->static_shared_bytes = 1024;
  expect_words(error_of([&] { load_kernel(devices.context(0), {}, "toy", 101000); }, ErrorCode::kUnsupported),
               {"102024", "101376", "smaller tile"});
  const auto kernel = load_kernel(devices.context(0), {}, "toy");
  error_of([&] { launch(*kernel, {.blocks = std::int64_t{1} << 31, .threads = 32}, Stream{}); },
           ErrorCode::kUnsupported);
  launch(*kernel, {.blocks = 0, .threads = 32}, Stream{});
  EXPECT_EQ(fake->count("cuLaunchKernelEx"), 0);
}

TEST_F(DriverTest, kernels_and_contexts_are_given_back) {
  {
    Devices devices(FOVEA_FAKE_DRIVER);
    load_kernel(devices.context(0), {}, "toy");
  }
  EXPECT_EQ(fake->count("cuLibraryUnload"), 1);
  EXPECT_EQ(fake->count("cuDevicePrimaryCtxRelease"), 1);
  EXPECT_TRUE(fake->context_stack.empty());
}

TEST_F(DriverTest, the_same_code_is_loaded_once_as_long_as_somebody_holds_it) {
  Devices devices(FOVEA_FAKE_DRIVER);
  KernelTable table;
  const auto load = [&](int gpu, const char* key, int shared_bytes) {
    return table.find_or_load(devices.context(gpu), key, {}, "toy", shared_bytes);
  };
  auto first = load(0, "k", 1024);
  EXPECT_EQ(load(0, "k", 1024), first);
  EXPECT_EQ(fake->count("cuLibraryLoadData"), 1);
  EXPECT_NE(load(0, "other", 1024), first);
  EXPECT_NE(load(1, "k", 1024), first);
  EXPECT_NE(load(0, "k", 2048), first) << "a launch could not have its shared memory";
  EXPECT_EQ(fake->count("cuLibraryLoadData"), 4);
  first.reset();
  EXPECT_EQ(fake->count("cuLibraryUnload"), 4);
  EXPECT_NE(load(0, "k", 1024), nullptr);
  EXPECT_EQ(fake->count("cuLibraryLoadData"), 5);
}

TEST_F(DriverTest, a_workspace_is_allocated_once_and_grows_in_stream_order) {
  Devices devices(FOVEA_FAKE_DRIVER);
  WorkspacePool pool;
  void* first = pool.acquire(devices.context(0), Stream{}, 1000).data();
  EXPECT_EQ(pool.acquire(devices.context(0), Stream{}, 2 << 20).data(), first);
  EXPECT_EQ(fake->count("cuMemAllocAsync"), 1);
  EXPECT_NE(pool.acquire(devices.context(0), Stream{}, 5 << 20).data(), first);
  EXPECT_EQ(fake->count("cuMemFreeAsync"), 1);
  add_stream(0x50, 0x1000);
  pool.acquire(devices.context(0), stream(0x50), 10);
  EXPECT_EQ(fake->count("cuMemAllocAsync"), 3) << "each stream has its own";
}

TEST_F(DriverTest, a_captured_graph_has_a_workspace_of_its_own_that_is_kept) {
  Devices devices(FOVEA_FAKE_DRIVER);
  {
    WorkspacePool pool;
    fake->capturing = true;
    void* captured = pool.acquire(devices.context(0), Stream{}, 1000).data();
    EXPECT_EQ(pool.acquire(devices.context(0), Stream{}, 1000).data(), captured);
    EXPECT_EQ(fake->count("cuMemAlloc"), 1) << "not in the captured stream";
    fake->capturing = false;
    EXPECT_NE(pool.acquire(devices.context(0), Stream{}, 1000).data(), captured)
        << "the graph may be replayed beside it";
    fake->capturing = true;
    EXPECT_NE(pool.acquire(devices.context(0), Stream{}, 5 << 20).data(), captured);
    EXPECT_EQ(fake->count("cuMemFreeAsync") + fake->count("cuMemFree"), 0) << "the graph still holds the first";
  }
  EXPECT_EQ(fake->count("cuMemFree"), 3);
}

}  // namespace
}  // namespace fovea::cuda
