// SPDX-License-Identifier: Apache-2.0
#include "jit/compiler.h"

#include <gtest/gtest.h>

#include <thread>

#include "fovea/error.h"
#include "jit/nvrtc_stamp.h"
#include "tests/jit/toy.h"

namespace fovea::jit {
namespace {

class CompilerTest : public testing::Test {
 protected:
  void SetUp() override {
    Compiler probe(folder.options());
    if (!probe.nvrtc().present()) GTEST_SKIP() << probe.nvrtc().absence();
  }
  ToyFolder folder;
};

TEST_F(CompilerTest, compiles_once_then_finds_the_kernel_in_memory_and_on_disk) {
  Compiler first(folder.options());
  const auto compiled = first.compile(ToyFolder::unit(), "sm_80");
  EXPECT_EQ(compiled->origin, Origin::kCompiled);
  EXPECT_GT(compiled->resources.registers_per_thread, 0);
  EXPECT_EQ(compiled->resources.static_shared_bytes, 1024);
  EXPECT_EQ(compiled->resources.spill_store_bytes, 0);
  EXPECT_EQ(first.compile(ToyFolder::unit(), "sm_80"), compiled);

  Compiler second(folder.options());
  const auto from_disk = second.compile(ToyFolder::unit(), "sm_80");
  EXPECT_EQ(from_disk->origin, Origin::kDisk);
  EXPECT_EQ(from_disk->cubin, compiled->cubin);
  EXPECT_EQ(from_disk->resources, compiled->resources);
}

TEST_F(CompilerTest, compiles_for_every_generation) {
  Compiler compiler(folder.options());
  for (const char* architecture : {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"}) {
    EXPECT_FALSE(compiler.compile(ToyFolder::unit(), architecture)->cubin.empty()) << architecture;
  }
}

TEST_F(CompilerTest, a_changed_text_config_or_architecture_is_another_kernel_and_an_unrelated_text_is_not) {
  const std::string key = Compiler(folder.options()).compile(ToyFolder::unit(), "sm_80")->key;
  EXPECT_NE(Compiler(folder.options()).compile(ToyFolder::unit(3), "sm_80")->key, key);
  EXPECT_NE(Compiler(folder.options()).compile(ToyFolder::unit(), "sm_86")->key, key);
  folder.write("contract/unrelated.h", "#pragma once\n// changed\n");
  EXPECT_EQ(Compiler(folder.options()).compile(ToyFolder::unit(), "sm_80")->origin, Origin::kDisk);
  folder.write("include/fovea/types.h",
               "#pragma once\n// changed\nnamespace fovea { enum class DType { kF32, kF16 }; }\n");
  EXPECT_EQ(Compiler(folder.options()).compile(ToyFolder::unit(), "sm_80")->origin, Origin::kCompiled);
}

TEST_F(CompilerTest, threads_that_want_the_same_kernel_compile_it_once) {
  Compiler compiler(folder.options());
  std::vector<std::shared_ptr<const CompiledKernel>> results(8);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = compiler.compile(ToyFolder::unit(), "sm_80"); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, results.front());
  EXPECT_EQ(compiler.compiled().size(), 1u);
}

TEST_F(CompilerTest, a_kernel_that_does_not_compile_names_the_log_and_the_kept_source) {
  folder.write("kernels/toy.cuh", "#include \"contract/missing.h\"\n");
  Compiler compiler(folder.options());
  try {
    compiler.compile(ToyFolder::unit(), "sm_80");
    FAIL() << "compiled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCompile);
    const std::string message = error.what();
    EXPECT_NE(message.find("contract/missing.h"), std::string::npos) << message;
    const std::size_t at = message.find(folder.root + "/cache/failed/toy-sm_80-");
    ASSERT_NE(at, std::string::npos) << message;
    EXPECT_TRUE(std::filesystem::exists(message.substr(at, message.find(';', at) - at)));
  }
  EXPECT_THROW(compiler.compile(ToyFolder::unit(), "sm_80"), Error) << "a failure is not remembered as a kernel";
}

TEST_F(CompilerTest, an_nvrtc_older_than_the_gpu_says_so) {
  Compiler compiler(folder.options());
  try {
    compiler.compile(ToyFolder::unit(), "sm_990a");
    FAIL() << "compiled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCompile);
    EXPECT_NE(std::string(error.what()).find("older than the GPU"), std::string::npos) << error.what();
  }
}

TEST_F(CompilerTest, kernels_compiled_ahead_run_where_no_nvrtc_is) {
  {
    Compiler ahead(folder.options());
    ahead.export_to(folder.root + "/prebuilt");
    ahead.compile(ToyFolder::unit(), "sm_80");
  }
  CompilerOptions options = folder.options();
  options.cache_dir = folder.root + "/other";
  options.prebuilt_dir = folder.root + "/prebuilt";
  options.nvrtc = {.library = "/nowhere/libnvrtc.so", .cuda_home = "", .python_prefixes = {}};
  Compiler compiler(options);
  EXPECT_EQ(compiler.compile(ToyFolder::unit(), "sm_80")->origin, Origin::kPrebuilt);
  EXPECT_THROW(compiler.compile(ToyFolder::unit(3), "sm_80"), Error);
}

TEST_F(CompilerTest, the_version_of_nvrtc_is_known_without_loading_it_until_its_file_changes) {
  const CompilerOptions options = folder.options();
  EXPECT_FALSE(read_nvrtc_stamp(options.cache_dir, options.nvrtc).has_value());
  Compiler compiler(options);
  compiler.compile(ToyFolder::unit(), "sm_80");
  EXPECT_EQ(read_nvrtc_stamp(options.cache_dir, options.nvrtc), compiler.nvrtc().version());
  NvrtcSearch other = options.nvrtc;
  other.library = compiler.nvrtc().library() + ".other";
  EXPECT_FALSE(read_nvrtc_stamp(options.cache_dir, other).has_value());
}

TEST_F(CompilerTest, a_cache_that_cannot_be_written_only_costs_time) {
  CompilerOptions options = folder.options();
  options.cache_dir = "/proc/fovea";
  EXPECT_EQ(Compiler(options).compile(ToyFolder::unit(), "sm_80")->origin, Origin::kCompiled);
  options.cache_dir = "";
  EXPECT_EQ(Compiler(options).compile(ToyFolder::unit(), "sm_80")->origin, Origin::kCompiled);
}

TEST(Compiler, without_nvrtc_the_error_tells_the_ways_out) {
  const ToyFolder folder;
  CompilerOptions options = folder.options();
  options.nvrtc = {.library = "/nowhere/libnvrtc.so", .cuda_home = "", .python_prefixes = {}};
  Compiler compiler(options);
  try {
    compiler.compile(ToyFolder::unit(), "sm_80");
    FAIL() << "compiled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCompile);
    for (const char* word :
         {"/nowhere/libnvrtc.so", "pip install nvidia-cuda-nvrtc", "FOVEA_NVRTC", "FOVEA_PREBUILT"}) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " in " << error.what();
    }
  }
}

}  // namespace
}  // namespace fovea::jit
