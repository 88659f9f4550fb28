// SPDX-License-Identifier: Apache-2.0
// Buckets, the choice among cards, and what explain counts, with cards made for the test.
#include <gtest/gtest.h>

#include <array>

#include "fovea/error.h"
#include "plan/attention_plan.h"
#include "plan/choose.h"
#include "plan/explain.h"
#include "plan/plan_cache.h"

namespace fovea {
namespace {

AttentionProblem problem_of(int seqlen_q, int seqlen_k) {
  AttentionProblem p;
  p.batch = 1;
  p.seqlen_q = seqlen_q;
  p.seqlen_k = seqlen_k;
  p.num_heads_q = p.num_heads_kv = 2;
  p.head_dim_qk = p.head_dim_v = 64;
  return p;
}

AttentionKernel card(std::string_view name, Support (*supports)(const AttentionProblem&, const DeviceInfo&)) {
  return {name, supports,
          [](const AttentionProblem&, const DeviceInfo&) {
            AttentionConfig small, large;
            small.block_q = 64, small.block_k = 128;
            large.block_q = 128, large.block_k = 128;
            return std::vector{small, large};
          },
          [](Runtime&, const AttentionProblem&, const DeviceInfo&, const AttentionConfig& config) {
            AttentionPlan plan;
            plan.config = config;
            return plan;
          },
          nullptr};
}
const AttentionKernel kPicky =
    card("picky", [](const AttentionProblem&, const DeviceInfo&) { return Support::no("it is Friday"); });
const AttentionKernel kWilling =
    card("willing", [](const AttentionProblem&, const DeviceInfo&) { return Support::yes(); });
const std::array<const AttentionKernel*, 2> kBoth = {&kPicky, &kWilling};

// The cards of this test never touch the runtime.
Runtime& no_runtime() {
  alignas(16) static char nothing[16];
  return reinterpret_cast<Runtime&>(nothing);
}

TEST(Choose, takes_the_first_card_that_supports_and_keeps_the_reasons_of_the_others) {
  const AttentionPlan plan = choose_plan<AttentionOperation>(kBoth, no_runtime(), {problem_of(8, 8), {}, ""}, {});
  EXPECT_EQ(plan.kernel, &kWilling);
  ASSERT_EQ(plan.refused.size(), 1u);
  EXPECT_EQ(plan.refused[0].reason, "it is Friday");
  EXPECT_EQ(plan.config.block_q, 64);
}

TEST(Choose, the_callers_tile_picks_the_candidate_that_agrees) {
  AttentionTile tile;
  tile.block_q = 128;
  EXPECT_EQ(choose_plan<AttentionOperation>(kBoth, no_runtime(), {problem_of(8, 8), tile, ""}, {}).config.block_q, 128);
}

TEST(Choose, refusal_by_all_lists_every_reason) {
  try {
    choose_plan<AttentionOperation>(std::span(kBoth).first(1), no_runtime(), {problem_of(8, 8), {}, ""}, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("picky: it is Friday"), std::string::npos) << error.what();
  }
}

TEST(Choose, an_unknown_kernel_name_lists_those_there_are) {
  try {
    choose_plan<AttentionOperation>(kBoth, no_runtime(), {problem_of(8, 8), {}, "quick"}, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("picky, willing"), std::string::npos) << error.what();
  }
}

TEST(Bucket, lengths_that_differ_a_little_share_a_plan) {
  EXPECT_EQ(bucket_of(problem_of(1000, 2000)), bucket_of(problem_of(1024, 2048)));
  EXPECT_NE(bucket_of(problem_of(1, 2000)), bucket_of(problem_of(2, 2000)));
}

TEST(Bucket, keeps_the_number_of_query_heads_per_kv_head) {
  AttentionProblem p = problem_of(1, 1);
  p.num_heads_q = 21;
  p.num_heads_kv = 3;
  const AttentionProblem b = bucket_of(p);
  EXPECT_EQ(b.num_heads_q / b.num_heads_kv, 7);
}

TEST(Bucket, the_largest_sizes_do_not_overflow) {
  AttentionProblem p = problem_of(kMaxSeqlen, kMaxSeqlen);
  p.batch = 2147483647;
  EXPECT_GT(bucket_of(p).batch, 0);
}

TEST(PlanCache, prepares_once_per_key) {
  PlanCache<AttentionOperation> cache;
  int prepared = 0;
  const auto prepare = [&] {
    ++prepared;
    return AttentionPlan{};
  };
  const AttentionKey key = {bucket_of(problem_of(5, 5)), {}, ""};
  const auto first = cache.find_or_prepare(key, prepare);
  EXPECT_EQ(cache.find_or_prepare(key, prepare), first);
  EXPECT_EQ(prepared, 1);
  EXPECT_EQ(cache.size(), 1u);
}

TEST(Explain, counts_tiles_as_brute_force_does) {
  for (const MaskRule rule : {MaskRule{MaskKind::kNone}, MaskRule{MaskKind::kCausal},
                              MaskRule{MaskKind::kWindow, MaskAlignment::kBottomRight, 20, 7}}) {
    for (auto [sq, sk] : {std::pair{100, 100}, {37, 90}, {90, 37}, {1, 64}}) {
      AttentionProblem p = problem_of(sq, sk);
      p.mask = rule;
      const TileCounts counted = count_tiles(p, 16, 32);
      TileCounts expected;
      const SequenceMask mask = sequence_mask(rule, sq, sk);
      for (int q = 0; q < sq; q += 16) {
        for (int k = 0; k < sk; k += 32) {
          int visible = 0, all = 0;
          for (int i = q; i < std::min(q + 16, sq); ++i) {
            for (int j = k; j < std::min(k + 32, sk); ++j)
              ++all, visible += visible_keys(rule.kind, mask, i).contains(j);
          }
          ++(visible == all ? expected.full : visible ? expected.edge : expected.skipped);
        }
      }
      EXPECT_EQ(counted.full, expected.full) << to_string(p);
      EXPECT_EQ(counted.skipped, expected.skipped) << to_string(p);
      EXPECT_EQ(counted.edge, expected.edge) << to_string(p);
    }
  }
}

}  // namespace
}  // namespace fovea
