// SPDX-License-Identifier: Apache-2.0
// The emulated GPU finds what it is there for: each kernel here has one mistake, or is its right form.
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cuda/launch.h"
#include "cuda/memory.h"
#include "jit/compiler.h"

namespace fovea::emulated {
namespace {

constexpr int kNumbers = 1024;

struct Attempt {
  std::string header = "contract/host_device.h";
  std::string body;  // of kernel(float* out, const float* in); in[i] is i, out is NaN before
  int threads = 32, blocks = 1, cluster = 1, shared_bytes = 0, min_blocks = 1;
  const char* copies = "late";
  const char* garbage = "nan";
  const char* gpu = "sm_90";
};

struct Outcome {
  std::string text;  // what the process wrote to stderr
  std::vector<float> out;
};

void run_here(const Attempt& attempt, int to) {
  cuda::Devices devices(FOVEA_EMULATED_GPU_LIBRARY);
  jit::CompilerOptions options;
  options.nvrtc.library = FOVEA_EMULATED_GPU_LIBRARY;
  jit::Compiler compiler(options);
  const cuda::DeviceContext& device = devices.context(0);
  const auto compiled = compiler.compile({.entry = "kernel",
                                          .header = attempt.header,
                                          .config = "0",
                                          .parameters = "float* out, const float* in",
                                          .body = attempt.body,
                                          .threads = attempt.threads,
                                          .min_blocks_per_sm = attempt.min_blocks},
                                         device.info->architecture);
  const auto kernel = cuda::load_kernel(device, compiled->cubin, "kernel", attempt.shared_bytes);
  const cuda::ScopedContext scope(device);
  const cuda::DeviceBuffer out(device, kNumbers * sizeof(float)), in(device, kNumbers * sizeof(float));
  std::vector<float> numbers(kNumbers);
  for (int i = 0; i < kNumbers; ++i) numbers[static_cast<std::size_t>(i)] = static_cast<float>(i);
  const cuda::DriverApi& api = device.driver->api;
  api.cuMemcpyHtoDAsync(in.address(), numbers.data(), kNumbers * sizeof(float), nullptr);
  cuda::launch(*kernel,
               {.blocks = attempt.blocks,
                .threads = attempt.threads,
                .shared_bytes = attempt.shared_bytes,
                .cluster = attempt.cluster},
               Stream{}, out.data(), static_cast<const void*>(in.data()));
  if (api.cuStreamSynchronize(nullptr) != 0) return;
  api.cuMemcpyDtoHAsync(numbers.data(), out.address(), kNumbers * sizeof(float), nullptr);
  if (write(to, numbers.data(), kNumbers * sizeof(float)) < 0) std::abort();
}

std::string read_all(int from) {
  std::string all;
  char part[4096];
  for (ssize_t n = 0; (n = read(from, part, sizeof part)) > 0;) all.append(part, static_cast<std::size_t>(n));
  close(from);
  return all;
}

/// In a process of its own: after a mistake nothing runs in one.
Outcome run(const Attempt& attempt) {
  int numbers[2], text[2];
  if (pipe(numbers) != 0 || pipe(text) != 0) return {"no pipe", {}};
  const pid_t child = fork();
  if (child == 0) {
    dup2(text[1], STDERR_FILENO);
    setenv("FOVEA_EMULATED_GPU", attempt.gpu, 1);
    setenv("FOVEA_EMULATED_GPU_COPIES", attempt.copies, 1);
    setenv("FOVEA_EMULATED_GPU_GARBAGE", attempt.garbage, 1);
    try {
      run_here(attempt, numbers[1]);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    std::fflush(nullptr);
    _exit(0);
  }
  close(numbers[1]);
  close(text[1]);
  Outcome outcome;
  const std::string bytes = read_all(numbers[0]);
  outcome.text = read_all(text[0]);
  outcome.out.resize(bytes.size() / sizeof(float));
  std::memcpy(outcome.out.data(), bytes.data(), outcome.out.size() * sizeof(float));
  waitpid(child, nullptr, 0);
  return outcome;
}

void expect_error(const Attempt& what, const char* words) {
  const Outcome outcome = run(what);
  EXPECT_NE(outcome.text.find(words), std::string::npos) << "no '" << words << "' in: " << outcome.text;
  EXPECT_TRUE(outcome.out.empty());
}

/// out[0 .. count) is first, first + 1, ….
void expect_count_up(const Attempt& what, int count, float first = 0.0f) {
  const Outcome outcome = run(what);
  EXPECT_EQ(outcome.text, "");
  ASSERT_EQ(outcome.out.size(), static_cast<std::size_t>(kNumbers));
  for (int i = 0; i < count; ++i)
    ASSERT_EQ(outcome.out[static_cast<std::size_t>(i)], first + static_cast<float>(i)) << i;
}

void expect_nan(const Attempt& what, int at) {
  const Outcome outcome = run(what);
  EXPECT_EQ(outcome.text, "");
  ASSERT_EQ(outcome.out.size(), static_cast<std::size_t>(kNumbers));
  EXPECT_TRUE(std::isnan(outcome.out[static_cast<std::size_t>(at)])) << outcome.out[static_cast<std::size_t>(at)];
}

TEST(EmulatedMemory, a_read_behind_an_allocation_is_an_error) {
  expect_error({.body = "out[threadIdx.x] = in[1024 + 1024 * threadIdx.x];"}, "memory that is not allocated");
}
TEST(EmulatedMemory, a_write_between_allocations_is_an_error) {
  expect_error({.body = "if (threadIdx.x == 0) out[1024] = 1.0f; out[threadIdx.x] = 2.0f;"}, "not allocated");
  expect_error({.body = "if (threadIdx.x == 0) out[-1] = 1.0f;"}, "not allocated");
}
TEST(EmulatedMemory, an_unaligned_vector_is_an_error) {
  expect_error({.body = "float4 x = *reinterpret_cast<const float4*>(in + 1 + threadIdx.x); "
                        "*reinterpret_cast<float4*>(out + 4 * threadIdx.x) = x;"},
               "not aligned for its type");
}
TEST(EmulatedMemory, shared_memory_is_nan_at_first_and_ends_where_it_ends) {
  expect_nan({.body = "__shared__ float x[32]; out[threadIdx.x] = x[threadIdx.x];"}, 3);
  expect_error({.body = "extern __shared__ __align__(16) float x[]; x[threadIdx.x * 1024] = 1.0f; out[0] = x[0];",
                .shared_bytes = 4096},
               "not allocated");
}

TEST(EmulatedThreads, every_thread_of_every_block_runs_once) {
  expect_count_up({.body = "out[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x * 96.0f + threadIdx.x;",
                   .threads = 96,
                   .blocks = 10},
                  960);
}
TEST(EmulatedThreads, a_barrier_that_some_never_reach_is_a_deadlock_with_a_report) {
  expect_error({.body = "if (threadIdx.x < 40) __shfl_sync(0xffffffffu, 1, 31); out[0] = 0;", .threads = 64},
               "a shuffle reads lane");
  expect_error({.header = "kernels/ptx/warpgroup.cuh", .body = "if (threadIdx.x < 32) bar_sync(1, 64);", .threads = 64},
               "warp 0: waits at barrier 1 of 64 threads");
  expect_error({.header = "kernels/ptx/warpgroup.cuh",
                .body = "if (threadIdx.x < 32) bar_sync(1, 64); else bar_sync(1, 96);",
                .threads = 64},
               "with 96 and with 64 threads");
}
TEST(EmulatedThreads, a_warp_word_needs_all_its_lanes) {
  expect_error({.body = "out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0);"}, "lacks the calling lane");
  expect_error({.header = "kernels/ptx/ldmatrix.cuh",
                .body = "__shared__ __align__(16) float x[128]; unsigned d[4]; if (threadIdx.x >= 16) return; "
                        "ldmatrix_x4(d, static_cast<unsigned>(__cvta_generic_to_shared(x)));"},
               "the others have ended");
  expect_error({.header = "kernels/ptx/ldmatrix.cuh",
                .body = "__shared__ __align__(16) float x[256]; unsigned d[4]; "
                        "ldmatrix_x4(d, static_cast<unsigned>(__cvta_generic_to_shared(x + threadIdx.x)));"},
               "no multiple of 16");
}
TEST(EmulatedThreads, registers_are_shared_out_of_what_there_is) {
  expect_error({.header = "kernels/ptx/warpgroup.cuh",
                .body = "if (threadIdx.x < 128) setmaxnreg_dec<40>(); else setmaxnreg_inc<240>();",
                .threads = 384},
               "waits for");
  expect_count_up({.header = "kernels/ptx/warpgroup.cuh",
                   .body = "if (threadIdx.x < 128) setmaxnreg_dec<40>(); else setmaxnreg_inc<232>(); "
                           "out[threadIdx.x] = threadIdx.x;",
                   .threads = 384},
                  384);
}

constexpr const char* kCpAsync =
    "__shared__ __align__(16) float x[128]; "
    "cp_async_cg_16(static_cast<unsigned>(__cvta_generic_to_shared(x + 4 * threadIdx.x)), in + 4 * threadIdx.x); "
    "cp_async_commit_group(); ";
constexpr const char* kOut = "for (int i = threadIdx.x; i < 128; i += 32) out[i] = x[i];";

TEST(EmulatedCopies, cp_async_lands_when_it_is_waited_for) {
  const std::string header = "kernels/ptx/cp_async.cuh", copy = kCpAsync;
  for (const char* gpu : {"sm_80", "sm_90"}) {
    expect_count_up({.header = header, .body = copy + "cp_async_wait_group<0>(); __syncthreads(); " + kOut, .gpu = gpu},
                    128);
    expect_nan({.header = header, .body = copy + "cp_async_wait_group<1>(); __syncthreads(); " + kOut, .gpu = gpu}, 5);
    expect_nan({.header = header, .body = copy + "__syncthreads(); " + kOut, .gpu = gpu}, 5);
  }
}

constexpr const char* kBarrier =
    "__shared__ unsigned long long word; __shared__ float x[32]; "
    "const unsigned barrier = static_cast<unsigned>(__cvta_generic_to_shared(&word)); ";

TEST(EmulatedMbarrier, counts_arrivals_and_ends_phases) {
  const std::string header = "kernels/ptx/mbarrier.cuh", begin = kBarrier;
  const std::string init = begin + "if (threadIdx.x == 0) mbarrier_init(barrier, 32); __syncthreads(); ";
  expect_count_up(
      {.header = header,
       .body = init + "for (int i = 0; i < 3; ++i) { mbarrier_arrive(barrier); mbarrier_wait(barrier, i % 2); } "
                      "out[threadIdx.x] = threadIdx.x;"},
      32);
  expect_error({.header = header,
                .body = init + "mbarrier_arrive(barrier); mbarrier_wait(barrier, 1); mbarrier_wait(barrier, 1);"
                               "mbarrier_wait(barrier, 0); mbarrier_wait(barrier, 1);"},
               "for the phase of parity 1");
  expect_error({.header = header, .body = begin + "mbarrier_arrive(barrier);"}, "was not initialised");
  expect_error({.header = header,
                .body = begin + "if (threadIdx.x == 0) mbarrier_init(barrier, 1); __syncthreads(); "
                                "if (threadIdx.x == 0) mbarrier_arrive_expect_tx(barrier, 16); __syncwarp(); "
                                "if (threadIdx.x == 1) mbarrier_arrive(barrier);"},
               "one arrival too many");
  expect_error(
      {.header = header,
       .body = begin + "if (threadIdx.x == 0) mbarrier_init(barrier, 1); __syncthreads(); "
                       "if (threadIdx.x == 0) mbarrier_arrive_expect_tx(barrier, 16); mbarrier_wait(barrier, 0);"},
      "deadlock");
}

TEST(EmulatedCluster, blocks_read_each_others_shared_memory_until_they_end) {
  const std::string body =
      "__shared__ __align__(16) float4 x; if (threadIdx.x == 0) x.x = 100.0f * cluster_ctarank(); barrier_cluster(); "
      "if (threadIdx.x == 0) out[blockIdx.x] = "
      "ld_shared_cluster_v4(mapa(static_cast<unsigned>(__cvta_generic_to_shared(&x)), "
      "cluster_ctarank() ^ 1)).x / 100.0f + (cluster_ctarank() ? 1 : -1) + blockIdx.x / 2 * 2;";
  expect_count_up(
      {.header = "kernels/ptx/cluster.cuh", .body = body + " barrier_cluster();", .blocks = 6, .cluster = 2}, 6);
  expect_error(
      {.header = "kernels/ptx/cluster.cuh",
       .body = "__shared__ __align__(16) float4 x; x.x = 1; if (cluster_ctarank() == 1) return; "
               "for (int i = 0; i < 9; ++i) __nanosleep(1); "
               "out[0] = ld_shared_cluster_v4(mapa(static_cast<unsigned>(__cvta_generic_to_shared(&x)), 1)).x;",
       .blocks = 2,
       .cluster = 2},
      "block of the cluster that has ended");
}

TEST(EmulatedCluster, a_blocks_own_shared_addresses_carry_its_rank) {
  expect_count_up(
      {.header = "kernels/ptx/cluster.cuh",
       .body = "__shared__ float x; const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(&x)); "
               "if (threadIdx.x == 0) out[blockIdx.x] = at >> 24 == 0 ? 0 : cluster_ctarank() * "
               "(static_cast<float*>(__cvta_shared_to_generic(at)) == &x);",
       .blocks = 2,
       .cluster = 2},
      2);
}

/// d (64 x 8) = a b with a and b all ones, in panels of the 128-byte swizzle: 16 everywhere.
std::string product(const std::string& before, const std::string& after) {
  return "__shared__ __align__(1024) unsigned short a[64 * 64]; __shared__ __align__(1024) unsigned short b[8 * 64]; "
         "for (int i = threadIdx.x; i < 4096; i += 128) a[i] = b[i % 512] = 0x3c00; __syncthreads(); float d[4] = {0, "
         "0, 0, 0}; " +
         before +
         "const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(a)), bt = "
         "static_cast<unsigned>(__cvta_generic_to_shared(b)); "
         "wgmma_m64k16<DType::kF16, false, false>(d, wgmma_descriptor(at, 0, 1024), wgmma_descriptor(bt, 0, 1024)); " +
         after + " out[threadIdx.x] = d[0] - 16.0f + threadIdx.x;";
}

TEST(EmulatedWgmma, writes_its_registers_when_it_is_waited_for) {
  Attempt tried = {.threads = 128};
  tried.header = "kernels/matmul/matmul_sm90.cuh";
  tried.body = product("wgmma_fence(); ", "wgmma_commit_group(); wgmma_wait_group<0>(); after_wait(d);");
  expect_count_up(tried, 128);
  tried.copies = "early";
  expect_count_up(tried, 128);
  tried.copies = "late";
  tried.body = product("wgmma_fence(); ", "wgmma_commit_group(); wgmma_wait_group<1>();") + " wgmma_wait_group<0>();";
  expect_nan(tried, 7);
  tried.body = product("wgmma_fence(); ", "wgmma_commit_group(); d[1] = 3.0f; wgmma_wait_group<0>();");
  expect_error(tried, "were written before it was waited for");
  tried.body = product("", "wgmma_commit_group(); wgmma_wait_group<0>();");
  expect_error(tried, "without a wgmma.fence");
  tried.body = product("wgmma_fence(); ", "wgmma_commit_group();");
  expect_error(tried, "products in flight");
}

TEST(EmulatedWgmma, garbage_may_be_finite) {
  Attempt tried = {
      .header = "kernels/matmul/matmul_sm90.cuh",
      .body = product("wgmma_fence(); ", "wgmma_commit_group(); wgmma_wait_group<1>();") + " wgmma_wait_group<0>();",
      .threads = 128};
  tried.garbage = "large";
  const Outcome outcome = run(tried);
  EXPECT_EQ(outcome.text, "");
  ASSERT_EQ(outcome.out.size(), static_cast<std::size_t>(kNumbers));
  EXPECT_TRUE(std::isfinite(outcome.out[7]) && outcome.out[7] < -1e30f) << outcome.out[7];
  tried.body = product("wgmma_fence(); ", "wgmma_commit_group(); wgmma_wait_group<0>(); after_wait(d);");
  expect_count_up(tried, 128);
}

/// Row by row, one query and one key, whose v is one number in every column; o is that number.
std::string row_by_row(const char* v) {
  return std::string(
             "__shared__ unsigned short q[64]; __shared__ unsigned short v[64]; __shared__ unsigned short o[64]; for "
             "(int i = threadIdx.x; i < 64; i += 32) { q[i] = "
             "0; v[i] = ") +
         v +
         "; } __syncthreads(); constexpr AttentionConfig c = {.dtype = DType::kBF16, .head_dim_qk = 64, .head_dim_v = "
         "64, .block_q = 64, .block_k = 16}; AttentionArgs args; args.query.q = q; args.kv.k = q; args.kv.v = v; "
         "args.kv.seqlen = args.query.seqlen = args.batch = args.num_heads_q = args.num_heads_kv = 1; "
         "args.head_dim_qk = args.head_dim_v = 64; args.output.o = o; ForwardWork<false> work = {}; work.sequence = "
         "{0, 0, 1, 1, 1}; work.mask.seqlen_k = 1; work.keys = {0, 1}; work.group = 1; work.rows = 1; "
         "RowByRow<c>{args, work}.store(0); __syncthreads(); out[threadIdx.x] = to_float<DType::kBF16>(o[threadIdx.x]) "
         "- "
         "1.0f + threadIdx.x;";
}

TEST(EmulatedRowByRow, is_a_mistake_where_all_numbers_are_finite) {
  Attempt tried = {.header = "kernels/block/row_by_row.cuh", .body = row_by_row("0x3f80")};
  expect_error(tried, "though all of q, k and v are finite");
  tried.body = row_by_row("i == 40 ? 0x7f80 : 0x3f80");
  expect_count_up(tried, 8);
}

TEST(EmulatedWgmma, reads_shared_memory_until_it_is_waited_for) {
  const std::string after =
      "wgmma_commit_group(); __syncthreads(); a[threadIdx.x * 32] = 0x7e00; __syncthreads(); "
      "wgmma_wait_group<0>(); after_wait(d);";
  Attempt tried = {
      .header = "kernels/matmul/matmul_sm90.cuh", .body = product("wgmma_fence(); ", after), .threads = 128};
  expect_nan(tried, 0);
  tried.copies = "early";
  expect_count_up(tried, 128);
}

}  // namespace
}  // namespace fovea::emulated
