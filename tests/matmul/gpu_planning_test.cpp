// SPDX-License-Identifier: Apache-2.0
// What the GPU cards of matrix multiplication offer, from descriptions of GPUs: no GPU takes part.
#include <gtest/gtest.h>

#include <utility>

#include "contract/matmul_sm90.h"
#include "cuda/architectures.h"
#include "fovea/error.h"
#include "matmul/catalogue.h"
#include "matmul/gpu_matmul.h"
#include "matmul/kernels.h"
#include "matmul/matmul_sm90_cost.h"
#include "matmul/operand_copies.h"
#include "plan/matmul_plan.h"
#include "runtime.h"

namespace fovea {
namespace {

MatmulProblem product(int m, int n, int k, DType dtype = DType::kBF16) {
  MatmulProblem p;
  p.device = {DeviceKind::kCUDA, 0};
  p.dtype = p.d_dtype = p.c_dtype = p.bias_dtype = dtype;
  p.m = m, p.n = n, p.k = k;
  return p;
}

std::string first_card(const MatmulProblem& p, const DeviceInfo& device) {
  for (const MatmulKernel* card : matmul_kernels()) {
    if (card->supports(p, device) && (!card->pays || card->pays(p, device))) return std::string(card->name);
  }
  return "none";
}

TEST(MatmulOnGpus, the_first_card_that_can_is_the_fastest_one_of_its_generation) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a"), ampere = cuda::require_architecture("sm_80");
  const DeviceInfo turing = cuda::require_architecture("sm_75");
  EXPECT_EQ(first_card(product(64, 64, 64), hopper), "matmul_sm90");
  EXPECT_EQ(first_card(product(64, 64, 0), hopper), "matmul_sm80");
  EXPECT_EQ(first_card(product(64, 64, 64), ampere), "matmul_sm80");
  EXPECT_EQ(first_card(product(64, 64, 64), turing), "matmul_fp32");  // no bf16 in its matrix units
  EXPECT_EQ(first_card(product(64, 64, 64, DType::kF16), turing), "matmul_sm80");
  EXPECT_EQ(first_card(product(64, 64, 64, DType::kF32), hopper), "matmul_fp32");
}

TEST(MatmulOnGpus, fast_math_is_tf32_where_there_is_a_matrix_unit_for_it) {
  MatmulProblem p = product(64, 64, 64, DType::kF32);
  p.math = Math::kFast;
  EXPECT_EQ(first_card(p, cuda::require_architecture("sm_80")), "matmul_sm80");
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  constexpr MatrixOrder kRows = MatrixOrder::kRowMajor, kColumns = MatrixOrder::kColumnMajor;
  for (const MatrixOrder a : {kRows, kColumns}) {
    for (const MatrixOrder b : {kRows, kColumns}) {
      p.a_order = a, p.b_order = b;
      if (a == kColumns && b == kRows) continue;  // wgmma takes one operand at least with k contiguous
      EXPECT_EQ(first_card(p, hopper), "matmul_sm90");
      for (const MatmulConfig& c : sm90_candidates(p, hopper)) {
        EXPECT_EQ(c.block_k, 32);
        EXPECT_LE(c.block_m * c.block_n, 128 * 32 * c.warps);  // more sums spill where threads store d
        // What does not lie with k contiguous is the product's first operand, in registers.
        EXPECT_EQ(matmul_sm90_a_in_registers(c), a != kRows || b != kColumns);
        EXPECT_EQ(c.b_order, kColumns);
        EXPECT_TRUE(a != b || c.swaps_ab == (a == kRows));
      }
    }
  }
  p.a_order = p.b_order = kRows;
  EXPECT_EQ(first_card(p, cuda::require_architecture("sm_120a")), "matmul_sm80");
  const DeviceInfo turing = cuda::require_architecture("sm_75");
  EXPECT_EQ(first_card(p, turing), "matmul_fp32");
  EXPECT_EQ(matmul_sm80.supports(p, turing).reason, "multiplies TF32 from sm_80 on");
}

TEST(MatmulOnGpus, exact_fp32_takes_tiles_that_fill_the_gpu) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a"), turing = cuda::require_architecture("sm_75");
  const auto pick = [](const DeviceInfo& device, int m, int n, int k) {
    return matmul_fp32.candidates(product(m, n, k, DType::kF32), device).front();
  };
  const MatmulConfig large = pick(hopper, 4096, 4096, 4096);
  EXPECT_EQ(large.block_m * large.block_n, 128 * 256);  // 512 tiles in four waves; 64 x 128 needs six of 396
  EXPECT_EQ(large.num_splits, 1);
  EXPECT_EQ(pick(hopper, 3072, 3072, 3072).block_m,
            64);  // 1152 tiles in three waves; 288 of 128 x 256 would need three
  const MatmulConfig few = pick(hopper, 16, 4096, 4096);
  EXPECT_EQ(few.block_m, 32);
  EXPECT_GE(few.num_splits, 6);
  EXPECT_GE(pick(hopper, 256, 256, 4096).num_splits, 8);
  EXPECT_EQ(pick(turing, 4096, 4096, 4096).stages, 2);  // no cp.async: through registers
  const MatmulProblem p = product(512, 512, 512, DType::kF32);
  for (const DeviceInfo& device : {hopper, turing}) {
    for (const MatmulConfig& c : matmul_fp32.candidates(p, device)) {
      EXPECT_LE(matmul_fp32_shared_bytes(c) * c.blocks_per_sm, device.shared_per_sm_bytes);
      EXPECT_LE(32 * c.warps * c.blocks_per_sm, 512);  // of 128 registers each at least
    }
  }
}

TEST(MatmulOnGpus, rows_that_are_read_element_by_element_are_split_among_more_blocks) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  MatmulProblem p = product(114, 879, 640);
  p.b_alignment_bytes = p.d_alignment_bytes = 2;
  EXPECT_EQ(matmul_sm80.candidates(p, hopper).front().num_splits, 8);  // 25 us on an H200; 78 without splits
  p = product(4096, 4096, 4096);
  const MatmulConfig large = matmul_sm80.candidates(p, cuda::require_architecture("sm_80")).front();
  EXPECT_EQ(large.block_m * large.block_n, 128 * 128);
  EXPECT_EQ(large.num_splits, 1);
}

TEST(MatmulOnGpus, fp8_needs_its_matrix_unit_and_says_which_layout_is_fast) {
  MatmulProblem p = product(256, 256, 256, DType::kE4M3);
  p.d_dtype = DType::kBF16;
  EXPECT_EQ(first_card(p, cuda::require_architecture("sm_86")), "none");
  EXPECT_EQ(matmul_sm80.supports(p, cuda::require_architecture("sm_86")).reason, "multiplies e4m3 from sm_89 on");
  const DeviceInfo ada = cuda::require_architecture("sm_89");
  EXPECT_EQ(first_card(p, ada), "matmul_sm80");
  EXPECT_EQ(matmul_sm80.candidates(p, ada).front().b_order, MatrixOrder::kStrided);
  p.b_order = MatrixOrder::kColumnMajor;
  for (const MatmulConfig& c : matmul_sm80.candidates(p, ada)) {
    EXPECT_EQ(c.b_order, MatrixOrder::kColumnMajor);
    EXPECT_LE(c.block_m * c.block_n, 64 * 32 * c.warps);  // two sets of sums
    EXPECT_EQ(kScaleBlock % c.block_k, 0);
  }
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  EXPECT_EQ(first_card(p, hopper), "matmul_sm90");
  p.scale = ScaleKind::kPerBlock;
  for (const MatmulConfig& c : sm90_candidates(p, hopper)) {
    EXPECT_EQ(c.block_k, 128);
    EXPECT_TRUE(c.swaps_ab || kScaleBlock % c.block_n == 0) << c.block_n;  // the columns of a tile share a scale
    EXPECT_EQ(c.a_scale_lines, c.swaps_ab ? 128 : 1);
  }
}

/// What matmul_sm90 offers for a product with copies.
MatmulConfig first_copying(const MatmulProblem& p, const DeviceInfo& device) {
  EXPECT_TRUE(matmul_sm90.supports(p, device)) << to_string(p);
  return matmul_sm90.candidates(p, device).front();
}

TEST(MatmulOnGpus, operands_that_the_copy_engine_cannot_read_are_copied) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  MatmulProblem p = product(4096, 4096, 4096);
  EXPECT_FALSE(first_copying(p, hopper).packs_a || first_copying(p, hopper).packs_b);
  p.b_alignment_bytes = 8;  // rows
  MatmulConfig c = first_copying(p, hopper);
  EXPECT_FALSE(c.packs_a);
  EXPECT_TRUE(c.packs_b);
  EXPECT_EQ(c.swaps_ab ? c.a_copy_bytes : c.b_copy_bytes, 16);
  EXPECT_EQ(with_copies(p).b_order, MatrixOrder::kRowMajor);
  p.a_order = MatrixOrder::kStrided;
  c = first_copying(p, hopper);
  EXPECT_TRUE(c.packs_a && c.packs_b);
  EXPECT_EQ(with_copies(p).a_order, MatrixOrder::kRowMajor);
  EXPECT_EQ(first_card(p, hopper), "matmul_sm90");
  EXPECT_EQ(copied_bytes(p), 2 * std::int64_t{4096} * 4096 * 2);
}

TEST(MatmulOnGpus, copies_have_k_contiguous_where_the_product_needs_it) {
  constexpr MatrixOrder kRows = MatrixOrder::kRowMajor, kColumns = MatrixOrder::kColumnMajor;
  MatmulProblem p = product(512, 1024, 256, DType::kE4M3);
  p.a_order = kColumns;
  CopiedOperands c = copied_operands(p);
  EXPECT_TRUE(c.a.is_transposed && c.a.order == kRows);
  EXPECT_TRUE(c.b.is_transposed && c.b.order == kColumns);
  p.a_order = kRows, p.b_order = kColumns, p.b_alignment_bytes = 1;
  c = copied_operands(p);
  EXPECT_FALSE(c.a.is_copied);
  EXPECT_TRUE(c.b.is_copied && !c.b.is_transposed);
  // TF32 wants it in one operand: in the one that is copied anyway, else in the smaller one.
  p = product(512, 1024, 256, DType::kF32);
  p.math = Math::kFast;
  p.a_order = kColumns;
  c = copied_operands(p);
  EXPECT_TRUE(c.a.is_transposed && !c.b.is_copied);
  p.m = 2048;
  c = copied_operands(p);
  EXPECT_TRUE(!c.a.is_copied && c.b.is_transposed);
  p.a_alignment_bytes = 4;
  c = copied_operands(p);
  EXPECT_TRUE(c.a.is_transposed && !c.b.is_copied);
  p.b_alignment_bytes = 4, p.shares_b = true, p.batch = 2;  // one b is smaller than two a
  c = copied_operands(p);
  EXPECT_TRUE(c.a.is_copied && !c.a.is_transposed && c.b.is_transposed);
}

TEST(MatmulOnGpus, a_shared_operand_is_copied_once) {
  MatmulProblem p = product(100, 96, 70);
  p.batch = 5;
  p.a_alignment_bytes = p.b_alignment_bytes = 4;
  EXPECT_EQ(copied_bytes(p), 5 * (100 * 256 + 70 * 256));  // rows of 140 and of 192 bytes
  p.shares_b = true;
  EXPECT_EQ(copied_bytes(p), 5 * 100 * 256 + 70 * 256);
  MatmulArgs args;
  args.m = p.m, args.n = p.n, args.k = p.k;
  args.batch = args.batch_sizes[2] = 5;
  args.a = {nullptr, 70, 1, {0, 0, 7000}};
  args.b = {nullptr, 96, 1, {0, 0, 0}};
  const CopiedOperands copied = copied_operands(p);
  OperandCopyPlan plan = plan_copies(copied, p.dtype, args);
  EXPECT_EQ(plan.bytes, copied_bytes(p));
  EXPECT_EQ(plan.copies.copy[0].units, 5 * 100 * 9);  // words of 16 bytes
  EXPECT_EQ(plan.copies.copy[1].units, 70 * 12);
  alignas(16) static char workspace[1];
  take_copies(copied, p.dtype, plan, workspace, args);
  EXPECT_EQ(args.a.data, workspace);
  EXPECT_EQ(args.a.stride_row, 128);
  EXPECT_EQ(args.a.stride_batch[2], 100 * 128);
  EXPECT_EQ(static_cast<const char*>(args.b.data) - workspace, 5 * 100 * 256);
  EXPECT_EQ(args.b.stride_batch[2], 0);
}

TEST(MatmulOnGpus, copies_are_made_where_they_pay) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  MatmulProblem p = product(3061, 1139, 965);
  p.a_alignment_bytes = p.b_alignment_bytes = p.d_alignment_bytes = 2;
  EXPECT_EQ(first_card(p, hopper), "matmul_sm90");
  p.m = p.n = p.k = 65;
  p.a_alignment_bytes = p.b_alignment_bytes = 8;
  EXPECT_EQ(first_card(p, hopper), "matmul_sm80");
  EXPECT_NE(matmul_sm90.pays(p, hopper).reason.find("to copy operands that the copy engine cannot read"),
            std::string::npos);
  p = product(1 << 16, 1 << 16, 1 << 19);
  p.a_alignment_bytes = 2;
  EXPECT_NE(matmul_sm90.supports(p, hopper).reason.find("a copy would have more than"), std::string::npos);
}

TEST(MatmulOnGpus, every_candidate_is_legal_and_fits) {
  for (const char* name : {"sm_75", "sm_80", "sm_86", "sm_90a", "sm_120a"}) {
    const DeviceInfo device = cuda::require_architecture(name);
    for (const MatmulProblem& p : matmul_catalogue()) {
      for (const MatmulKernel* card : matmul_kernels()) {
        if (!card->supports(p, device)) continue;
        const auto configs = card->candidates(p, device);
        ASSERT_FALSE(configs.empty()) << name << " " << card->name << " " << to_string(p);
        if (card != &matmul_sm90) continue;
        for (const MatmulConfig& c : configs) {
          EXPECT_EQ(sm90_illegal(c), "") << to_string(p);
          EXPECT_LE(matmul_sm90_layout(c).total_bytes, device.shared_per_block_bytes);
        }
      }
    }
  }
}

TEST(MatmulOnGpus, the_cost_model_knows_few_rows_and_large_products) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  const MatmulConfig few = sm90_candidates(product(16, 8192, 8192), hopper).front();
  EXPECT_TRUE(few.swaps_ab);  // 16 rows would fill a quarter of the 64 that wgmma multiplies
  EXPECT_LE(few.block_n, 64);
  const MatmulConfig large = sm90_candidates(product(4096, 4096, 4096), hopper).front();
  EXPECT_GE(large.block_m * large.block_n, 128 * 256);
  EXPECT_TRUE(large.is_persistent);
  const MatmulConfig small = sm90_candidates(product(512, 512, 512), hopper).front();
  EXPECT_LE(small.block_m * small.block_n, 64 * 128);
}

/// A product of bf16 whose rows begin where those of row-major matrices of these sizes do.
MatmulProblem aligned_product(int m, int n, int k) {
  MatmulProblem p = product(m, n, k);
  const auto line = [](int elements) { return (2 * elements | 128) & -(2 * elements | 128); };
  p.a_alignment_bytes = line(k), p.b_alignment_bytes = p.d_alignment_bytes = line(n);
  return p;
}

struct Tiling {
  int block_m, block_n, cluster_m = 1, cluster_n = 1, num_splits = 1;
  bool swaps_ab = false;
};

double predicted_us(const MatmulProblem& p, const Tiling& t) {
  MatmulConfig c = gpu_matmul_config(p, t.swaps_ab);
  c.block_m = t.block_m, c.block_n = t.block_n, c.block_k = 64;
  c.cluster_m = t.cluster_m, c.cluster_n = t.cluster_n, c.num_splits = t.num_splits;
  return sm90_cost_us(p, sm90_fitted(c), cuda::require_architecture("sm_90a"));
}

TEST(MatmulOnGpus, the_cost_model_has_measured_times_in_their_order) {
  struct Measured {
    int m, n, k;
    Tiling fast, slow;
    double us_fast, us_slow;  // on an H200
  };
  const Measured pairs[] = {
      {256, 896, 6656, {128, 64, 1, 1, 4}, {64, 32, 1, 2}, 15.0, 21.1},  // k in parts
      {3072, 3072, 3072, {192, 192}, {128, 64, 1, 2}, 77.4, 113.8},      // bytes from the L2 cache
      {808, 2304, 6584, {64, 256}, {192, 96}, 44.3, 75.6},               // a begins at multiples of 16 bytes
      {2904, 816, 6328, {192, 128, 2, 1}, {64, 192}, 61.7, 122.1},       // … and more tiles than SMs
      {2496, 272, 3904, {128, 96, 1, 1, 2}, {64, 128}, 22.3, 27.7},      // columns beyond the edge
      {144, 7224, 2224, {192, 128, 1, 1, 2}, {128, 192}, 21.4, 26.5},    // rows beyond the edge
      {64, 4096, 11008, {64, 64, 1, 1, 2, true}, {64, 64}, 27.3, 32.7},  // few rows, as d^T = b^T a^T
      {2048, 2048, 2048, {128, 256, 2, 1}, {192, 96}, 27.7, 41.7},       // two waves
  };
  for (const Measured& x : pairs) {
    const MatmulProblem p = aligned_product(x.m, x.n, x.k);
    const double fast = predicted_us(p, x.fast), slow = predicted_us(p, x.slow);
    EXPECT_LT(fast, slow) << to_string(p) << ": measured " << x.us_fast << " and " << x.us_slow;
    EXPECT_NEAR(fast, x.us_fast, 0.2 * x.us_fast) << to_string(p);
  }
}

TEST(MatmulOnGpus, rows_that_do_not_exist_cost_more_than_rows_that_do) {
  // 59.9 and 37.7 us on an H200: zeros beyond the edge of k-major operands.
  EXPECT_GT(predicted_us(aligned_product(1, 8192, 8192), {64, 64}),
            predicted_us(aligned_product(64, 8192, 8192), {64, 64}));
}

TEST(MatmulOnGpus, a_tile_that_ends_in_half_a_panel_loads_only_its_own_columns) {
  MatmulConfig c = gpu_matmul_config(product(1024, 1024, 1024), false);
  c.block_m = 192, c.block_k = 64, c.warps = 12, c.stages = 4;
  for (const auto& [columns, loaded] : {std::pair{32, 32}, {96, 96}, {128, 128}, {160, 160}, {16, 64}}) {
    c.block_n = columns;
    EXPECT_EQ(matmul_sm90_layout(c).b_bytes, loaded * 64 * 2) << columns;
  }
}

TEST(MatmulOnGpus, an_illegal_tile_says_which_limit_it_breaks) {
  MatmulConfig c = gpu_matmul_config(product(4096, 4096, 4096), false);
  c.block_m = 256, c.block_n = 256, c.block_k = 64;
  c = sm90_fitted(c);
  EXPECT_NE(sm90_illegal(c).find("256 x 256 takes 256 registers for its sums"), std::string::npos) << sm90_illegal(c);
  c.block_m = 128, c.block_n = 128, c.stages = 0;
  c = sm90_fitted(c);
  EXPECT_EQ(sm90_illegal(c), "");
  c.stages = 20;
  EXPECT_NE(sm90_illegal(c).find("bytes of shared memory"), std::string::npos) << sm90_illegal(c);
  c.block_k = 32;
  EXPECT_NE(sm90_illegal(c).find("block_k is 32, must be 64"), std::string::npos);
}

TEST(MatmulOnGpus, the_callers_blocks_leave_a_cluster_that_does_not_suit_them) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  for (const MatmulProblem& p : matmul_catalogue()) {
    if (!matmul_sm90.supports(p, hopper)) continue;
    std::string choice;
    const MatmulTile tile = {.block_m = 64, .block_n = 64, .block_k = matmul_sm90_block_k(p.dtype)};
    EXPECT_EQ(sm90_illegal(sm90_fitted(choose_config(matmul_sm90.candidates(p, hopper), tile, &choice))), "")
        << to_string(p);
  }
  std::string choice;
  const MatmulTile tile = {.block_m = 64, .block_n = 64, .block_k = 64, .cluster_m = 2};
  const auto candidates = sm90_candidates(product(4096, 4096, 4096), hopper);
  EXPECT_EQ(choose_config(candidates, tile, &choice).cluster_m, 2);  // named: kept, and refused if it does not suit
}

TEST(MatmulOnGpus, tiles_that_run_together_read_little) {
  EXPECT_EQ(group_of_tiles(1, 64, 128, 256, 132), 1);
  EXPECT_EQ(group_of_tiles(32, 16, 128, 256, 132), 16);  // 16 x 9 tiles: 2048 rows and 2304 columns
  EXPECT_EQ(group_of_tiles(16, 16, 256, 256, 66), 8);
}

}  // namespace
}  // namespace fovea
