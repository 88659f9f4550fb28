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
    if (card->supports(p, device)) return std::string(card->name);
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
      if (a == kColumns && b == kRows) {  // wgmma takes one operand at least with k contiguous
        EXPECT_EQ(first_card(p, hopper), "matmul_sm80");
        EXPECT_NE(matmul_sm90.supports(p, hopper).reason.find("k contiguous in one operand"), std::string::npos);
        continue;
      }
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

TEST(MatmulOnGpus, rows_that_are_read_element_by_element_are_split_among_more_blocks) {
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  MatmulProblem p = product(114, 879, 640);
  p.b_alignment_bytes = p.d_alignment_bytes = 2;
  EXPECT_EQ(first_card(p, hopper), "matmul_sm80");
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
  p.b_order = MatrixOrder::kRowMajor;
  EXPECT_NE(matmul_sm90.supports(p, hopper).reason.find("transposed view"), std::string::npos);
  EXPECT_EQ(first_card(p, hopper), "matmul_sm80");
}

TEST(MatmulOnGpus, rows_that_the_copy_engine_cannot_address_go_to_mma_sync_with_a_reason) {
  MatmulProblem p = product(64, 64, 64);
  p.b_alignment_bytes = 8;
  const DeviceInfo hopper = cuda::require_architecture("sm_90a");
  const Support support = matmul_sm90.supports(p, hopper);
  EXPECT_FALSE(support);
  EXPECT_NE(support.reason.find("rows of b at multiples of 16 bytes; they are at multiples of 8"), std::string::npos)
      << support.reason;
  EXPECT_EQ(first_card(p, hopper), "matmul_sm80");
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
    EXPECT_EQ(sm90_illegal(sm90_fitted(choose_config(sm90_candidates(p, hopper), tile, &choice))), "") << to_string(p);
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
