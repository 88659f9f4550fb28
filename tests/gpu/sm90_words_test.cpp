// SPDX-License-Identifier: Apache-2.0
// What only Hopper has: tensor maps and bulk copies, warpgroup products, programmatic launches.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/math.h"
#include "cuda/tensor_map.h"
#include "tests/gpu/gpu.h"

namespace fovea::testing {
namespace {

/// Small numbers that fp16 holds exactly, different in neighbouring rows and columns.
float element(std::int64_t row, std::int64_t column) { return static_cast<float>((row * 5 + column * 3) % 17 - 8); }

class Sm90Words : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!gpu().info().has_wgmma) GTEST_SKIP() << "needs sm_90a";
  }
};

/// Copies one box of a tensor (2, 5, 40 rows, 88 columns) through a tensor map and returns it as it lies in shared
/// memory.
TEST_F(Sm90Words, tensor_map_box_arrives_swizzled_with_zeros_outside) {
  constexpr int kColumns = 88, kRows = 40, kHeads = 5, kBoxRows = 16;
  std::vector<std::uint16_t> in;
  for (int i = 0; i < 2 * kRows * kHeads; ++i) {
    for (int c = 0; c < kColumns; ++c) in.push_back(float_to_fp16(element(i, c)));
  }
  const DeviceCopy input(in);
  cuda::TensorMap map;
  {
    const cuda::ScopedContext scope(gpu().device());
    map = cuda::encode_tensor_map(
        gpu().runtime.impl().devices.driver(),
        {.data = input.data(),
         .dtype = DType::kF16,
         .rank = 4,
         .extent = {kColumns, kRows, kHeads, 2},
         .stride_bytes = {0, kHeads * kColumns * 2, kColumns * 2, kRows * kHeads * kColumns * 2},
         .box = {64, kBoxRows, 1, 1},
         .swizzle = cuda::Swizzle::k128Bytes});
  }
  const auto kernel = gpu().kernel(
      "kernels/attention/forward_sm90.cuh", "test_tensor_map",
      "const __grid_constant__ TensorMap map, unsigned short* out, int column, int row, int head, int batch",
      "__shared__ __align__(1024) unsigned short tile[16 * 64]; __shared__ unsigned long long bar[1]; "
      "const Ring<1> ring = {shared_address(bar)}; (void)ring; const unsigned full = shared_address(bar); "
      "if (threadIdx.x == 0) { mbarrier_init(full, 1); fence_mbarrier_init(); } __syncthreads(); "
      "if (threadIdx.x == 0) { mbarrier_arrive_expect_tx(full, 2048); "
      "cp_async_bulk_tensor_4d(shared_address(tile), map, full, {column, row, head, batch, 0}); } "
      "mbarrier_wait(full, 0); for (int i = threadIdx.x; i < 1024; i += 32) out[i] = tile[i];",
      32);
  struct Place {
    int column, row, head, batch;
  };
  for (const Place& p : {Place{0, 0, 0, 0}, {64, 8, 3, 1}, {0, 32, 4, 1}, {64, 39, 2, 0}}) {
    const DeviceCopy output(std::vector<std::uint16_t>(1024, 0xffff));
    void* to = output.data();
    cuda::launch(*kernel, {.blocks = 1, .threads = 32}, Stream{}, map, to, p.column, p.row, p.head, p.batch);
    gpu().synchronize();
    const auto out = output.values<std::uint16_t>();
    for (int r = 0; r < kBoxRows; ++r) {
      for (int c = 0; c < 64; ++c) {
        const bool inside = p.row + r < kRows && p.column + c < kColumns;
        const std::int64_t from = (std::int64_t{p.batch} * kRows + p.row + r) * kHeads + p.head;
        const std::uint16_t expected = inside ? float_to_fp16(element(from, p.column + c)) : std::uint16_t{0};
        const int at = r * 64 + ((c / 8) ^ (r % 8)) * 8 + c % 8;
        ASSERT_EQ(out[static_cast<std::size_t>(at)], expected) << r << ", " << c << " of the box at " << p.row;
      }
    }
  }
}

/// Scores of a (64 x 64) and b (80 rows of 64, the first 16 columns twice), then d += p b with b as rows of k (its
/// first 16 twice), 32 columns, twice, with the rows of d multiplied between. In a swizzled panel each.
TEST_F(Sm90Words, two_products) {
  const auto kernel = gpu().kernel(
      "kernels/attention/forward_sm90.cuh", "test_wgmma", "float* out",
      "using Products = TwoProducts<80, 32, DType::kF16>; Products::declare(); Products products; "
      "__shared__ __align__(1024) unsigned short a[64 * 64]; __shared__ __align__(1024) unsigned short b[80 * 64]; "
      "const auto element = [](int r, int c) { return static_cast<float>((r * 5 + c * 3) % 17 - 8); }; "
      "const auto place = [](int r, int c) { return r * 64 + ((c / 8) ^ (r % 8)) * 8 + c % 8; }; "
      "const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4; "
      "for (int i = t; i < 5120; i += 128) { const int r = i / 64, c = i % 64; "
      "if (r < 64) a[place(r, c)] = from_float<DType::kF16>(element(r, c)); "
      "b[place(r, c)] = from_float<DType::kF16>(element(r, c + 3)); } "
      "fence_proxy_async(); __syncthreads(); wgmma_fence(); "
      "const Descriptor qa = Panels<64>::by_rows(shared_address(a)), qb = Panels<80>::by_rows(shared_address(b)); "
      "Descriptor a_steps[5], b_steps[5], v_steps[5]; "
      "for (int i = 0; i < 5; ++i) { a_steps[i] = qa + Panels<64>::depth(i % 4); "
      "b_steps[i] = qb + Panels<80>::depth(i % 4); } "
      "products.start_scores(a_steps, b_steps); wgmma_commit_group(); wgmma_wait_group<0>(); "
      "float s[40], d[16]; products.read_scores(s); "
      "unsigned p[20]; for (int i = 0; i < 5; ++i) for (int j = 0; j < 4; ++j) { "
      "const int r = row + 8 * (j % 2), c = 16 * (i % 4) + 2 * (t % 4) + 8 * (j / 2); "
      "p[4 * i + j] = pack<DType::kF16>(element(r, c), element(r, c + 1)); } "
      "products.write_p(p); products.clear_d(); "
      "const Descriptor v = Panels<80>::by_columns(shared_address(b)); "
      "for (int i = 0; i < 5; ++i) v_steps[i] = v + Panels<80>::rows_depth(i % 4); "
      "for (int i = 0; i < 2; ++i) { wgmma_fence(); products.start_weighted(v_steps); wgmma_commit_group(); "
      "wgmma_wait_group<0>(); if (i == 0) products.scale_d(2.0f, 3.0f); } products.read_d(d); "
      "for (int n = 0; n < 10; ++n) for (int i = 0; i < 4; ++i) { "
      "const int r = row + i / 2 * 8, c = 8 * n + 2 * (t % 4) + i % 2; out[r * 80 + c] = s[4 * n + i]; "
      "if (n < 4) out[5120 + r * 32 + c] = d[4 * n + i]; }",
      128);
  const DeviceCopy output(std::vector<float>(5120 + 2048));
  void* to = output.data();
  cuda::launch(*kernel, {.blocks = 1, .threads = 128}, Stream{}, to);
  gpu().synchronize();
  const auto out = output.values<float>();
  for (int r = 0; r < 64; ++r) {
    for (int c = 0; c < 80; ++c) {
      float score = 0.0f, product = 0.0f;
      for (int i = 0; i < 80; ++i) {
        score += element(r, i % 64) * element(c, i % 64 + 3);
        product += element(r, i % 64) * element(i % 64, c + 3);
      }
      ASSERT_EQ(out[static_cast<std::size_t>(r * 80 + c)], score) << r << ", " << c;
      if (c >= 32) continue;
      const float factor = r / 8 % 2 == 0 ? 3.0f : 4.0f;  // twice the first product, or three times, and the second
      ASSERT_EQ(out[static_cast<std::size_t>(5120 + r * 32 + c)], factor * product) << r << ", " << c;
    }
  }
}

/// element(row, column + shift) in `rows` lines of 128 bytes, chunks of 16 bytes swizzled, as an operand lies in shared
/// memory.
template <typename T, typename Convert>
void add_operand(std::vector<T>& in, int rows, int shift, Convert convert) {
  constexpr int kLine = 128 / sizeof(T), kChunk = 16 / sizeof(T);
  const std::size_t first = in.size();
  in.resize(first + static_cast<std::size_t>(rows * kLine));
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < kLine; ++c) {
      const int at = r * kLine + ((c / kChunk) ^ (r % 8)) * kChunk + c % kChunk;
      in[first + static_cast<std::size_t>(at)] = convert(element(r, c + shift));
    }
  }
}

/// d (64 x 16) as a kernel of one warpgroup with parameters (in, out) stores it is `added` + a b over k steps; sums of
/// small integers are exact.
template <typename T>
void expect_product(const cuda::Kernel& kernel, const std::vector<T>& in, int k, float added) {
  const DeviceCopy input(in), output(std::vector<float>(1024));
  const void* from = input.data();
  void* to = output.data();
  cuda::launch(kernel, {.blocks = 1, .threads = 128}, Stream{}, from, to);
  gpu().synchronize();
  const auto out = output.values<float>();
  for (int r = 0; r < 64; ++r) {
    for (int c = 0; c < 16; ++c) {
      float expected = added;
      for (int i = 0; i < k; ++i) expected += element(r, i) * element(c, i + 3);
      ASSERT_EQ(out[static_cast<std::size_t>(r * 16 + c)], expected) << r << ", " << c;
    }
  }
}

/// a and b, a line of 128 bytes per row each, by the words `first` and `next`.
std::string product_of_lines(const std::string& first, const std::string& next) {
  return "__shared__ __align__(1024) uint4 tile[640]; const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4; "
         "for (int i = t; i < 640; i += 128) tile[i] = in[i]; fence_proxy_async(); __syncthreads(); float d[8]; "
         "const Descriptor a = wgmma_descriptor(shared_address(tile), 8192, 1024); "
         "const Descriptor b = wgmma_descriptor(shared_address(tile + 512), 8192, 1024); wgmma_fence(); " +
         first + "(d, a, b); for (int i = 1; i < 4; ++i) " + next +
         "(d, a + 2 * i, b + 2 * i); wgmma_commit_group(); wgmma_wait_group<0>(); after_wait(d); "
         "for (int i = 0; i < 8; ++i) out[(row + i / 2 % 2 * 8) * 16 + i / 4 * 8 + 2 * (t % 4) + i % 2] = d[i];";
}

TEST_F(Sm90Words, warpgroup_products_of_e4m3) {
  std::vector<std::uint8_t> in;
  add_operand(in, 64, 0, float_to_e4m3);
  add_operand(in, 16, 3, float_to_e4m3);
  const auto kernel = gpu().kernel("kernels/matmul/matmul_sm90.cuh", "test_wgmma_e4m3", "const uint4* in, float* out",
                                   product_of_lines("wgmma_m64k32_e4m3_first", "wgmma_m64k32_e4m3"), 128);
  expect_product(*kernel, in, 128, 0.0f);
}

/// Of elements that do not have the last 13 bits.
TEST_F(Sm90Words, warpgroup_products_of_tf32) {
  const auto same = [](float x) { return x; };
  std::vector<float> in;
  add_operand(in, 64, 0, same);
  add_operand(in, 16, 3, same);
  const auto kernel = gpu().kernel("kernels/matmul/matmul_sm90.cuh", "test_wgmma_tf32", "const uint4* in, float* out",
                                   product_of_lines("wgmma_m64k8_tf32_first", "wgmma_m64k8_tf32"), 128);
  expect_product(*kernel, in, 32, 0.0f);
}

/// a (64 x 16) in registers: two steps of k, the second operand as above (16 rows of 32, of which 16 are multiplied).
TEST_F(Sm90Words, warpgroup_products_of_tf32_in_registers) {
  std::vector<float> in;
  add_operand(in, 16, 3, [](float x) { return x; });
  const auto kernel = gpu().kernel(
      "kernels/matmul/matmul_sm90.cuh", "test_wgmma_tf32_registers", "const uint4* in, float* out",
      "__shared__ __align__(1024) uint4 tile[128]; const int t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4; "
      "const auto element = [](int r, int c) { return static_cast<float>((r * 5 + c * 3) % 17 - 8); }; "
      "tile[t] = in[t]; fence_proxy_async(); __syncthreads(); unsigned a[2][4]; float d[8]; "
      "for (int i = 0; i < 8; ++i) { d[i] = 1.0f; "
      "a[i / 4][i % 4] = static_cast<unsigned>(__float_as_int(element(row + i % 2 * 8, i / 4 * 8 + t % 4 + i / 2 % 2 * "
      "4))); } "
      "const Descriptor b = wgmma_descriptor(shared_address(tile), 8192, 1024); "
      "wgmma_fence(); wgmma_m64k8_tf32_registers(d, a[0], b); wgmma_m64k8_tf32_registers(d, a[1], b + 2); "
      "wgmma_commit_group(); wgmma_wait_group<0>(); after_wait(d); "
      "for (int i = 0; i < 8; ++i) out[(row + i / 2 % 2 * 8) * 16 + i / 4 * 8 + 2 * (t % 4) + i % 2] = d[i];",
      128);
  expect_product(*kernel, in, 16, 1.0f);
}

/// The second kernel may start before the first has written; its wait must see the first one's end.
TEST_F(Sm90Words, programmatic_launch_waits_for_the_kernel_before) {
  const auto slow =
      gpu().kernel("kernels/ptx/griddepcontrol.cuh", "test_slow", "int* p",
                   "griddepcontrol_launch_dependents(); for (int i = 0; i < 200; ++i) __nanosleep(10000); "
                   "p[blockIdx.x] = 41 + config;",
                   32);
  const auto follow =
      gpu().kernel("kernels/ptx/griddepcontrol.cuh", "test_follow", "int* p",
                   "griddepcontrol_wait(); if (threadIdx.x == 0) p[64 + blockIdx.x] = p[blockIdx.x] + 1;", 32);
  const DeviceCopy output(std::vector<int>(128, 0));
  void* to = output.data();
  cuda::launch(*slow, {.blocks = 64, .threads = 32}, Stream{}, to);
  cuda::launch(*follow, {.blocks = 64, .threads = 32, .programmatic = true}, Stream{}, to);
  gpu().synchronize();
  const auto out = output.values<int>();
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(out[64 + i], 42) << i;
}

}  // namespace
}  // namespace fovea::testing
