// SPDX-License-Identifier: Apache-2.0
// The judge itself: it must pass what is right and catch what is wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "reference/attention.h"
#include "verify/attention.h"

namespace fovea {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

/// Two queries, three keys, head_dim 1: small enough to compute by hand.
struct Tiny {
  std::vector<float> q = {1.0f, -2.0f}, k = {0.5f, 1.0f, -1.0f}, v = {1.0f, 2.0f, 4.0f}, o = {0, 0}, lse = {0, 0};
  AttentionArgs args;
  Tiny() {
    args.query = {q.data(), 2, 1, 2, 2, nullptr, nullptr};
    args.kv = {k.data(), v.data(), 3, 1, 3, 3, 1, 3, 3, nullptr, nullptr};
    args.output = {o.data(), 2, 1, 2, lse.data(), 2, 2};
    args.batch = args.num_heads_q = args.num_heads_kv = args.head_dim_qk = args.head_dim_v = 1;
  }
};

TEST(Reference, agrees_with_attention_computed_by_hand) {
  Tiny tiny;
  const double a = std::exp(0.5), b = std::exp(1.0), c = std::exp(-1.0);
  const ReferenceRow row = reference_attention_row(tiny.args, DType::kF32, 0, 0, 0);
  EXPECT_NEAR(row.o[0], (a + 2 * b + 4 * c) / (a + b + c), 1e-15);
  EXPECT_NEAR(row.lse, std::log(a + b + c), 1e-15);
}

TEST(Reference, causal_row_sees_only_keys_up_to_itself) {
  Tiny tiny;
  tiny.args.mask = {MaskKind::kCausal};
  const ReferenceRow first = reference_attention_row(tiny.args, DType::kF32, 0, 0, 0);  // sees keys 0 and 1
  const double a = std::exp(0.5), b = std::exp(1.0);
  EXPECT_NEAR(first.o[0], (a + 2 * b) / (a + b), 1e-15);
}

TEST(Reference, a_row_that_sees_nothing_is_zero_with_lse_minus_infinity) {
  Tiny tiny;
  tiny.args.mask = {MaskKind::kWindow, MaskAlignment::kTopLeft, 0, 0};
  const int no_keys[] = {0};
  tiny.args.kv.seq_lens = no_keys;
  const ReferenceRow row = reference_attention_row(tiny.args, DType::kF32, 0, 0, 1);
  EXPECT_EQ(row.o[0], 0.0);
  EXPECT_EQ(row.lse, -kInf);
}

TEST(Verify, the_plain_method_itself_passes_and_a_small_error_fails) {
  Tiny tiny;
  for (int r = 0; r < 2; ++r) {
    const ReferenceRow row = plain_attention_row(tiny.args, DType::kF32, 0, 0, r);
    tiny.o[static_cast<std::size_t>(r)] = static_cast<float>(row.o[0]);
    tiny.lse[static_cast<std::size_t>(r)] = static_cast<float>(row.lse);
  }
  EXPECT_TRUE(verify_attention(tiny.args, DType::kF32).passed);
  tiny.o[1] *= 1.00001f;
  const AttentionReport report = verify_attention(tiny.args, DType::kF32);
  EXPECT_FALSE(report.passed);
  EXPECT_EQ(report.o.worst().row, 1);
  EXPECT_NE(to_string(report).find("worst at batch 0, head 0, row 1, column 0"), std::string::npos)
      << to_string(report);
}

TEST(Verify, a_sample_keeps_the_first_and_the_last_row) {
  Tiny tiny;
  EXPECT_EQ(verify_attention(tiny.args, DType::kF32, {1}).rows_checked, 2);
}

TEST(Comparison, non_finite_values_must_agree_in_kind) {
  Comparison same;
  same.add({}, kNan, kNan, kNan);
  same.add({}, -kInf, -kInf, -kInf);
  EXPECT_EQ(same.non_finite_mismatches(), 0);
  for (auto [expected, ours] : {std::pair{1.0, kNan}, {kNan, 1.0}, {kInf, -kInf}, {0.0, kInf}, {-kInf, -1e30}}) {
    Comparison c;
    c.add({}, expected, expected, ours);
    EXPECT_EQ(c.non_finite_mismatches(), 1) << expected << " " << ours;
    EXPECT_FALSE(passes(c, tolerance_of(c, DType::kF32)));
  }
}

TEST(Tolerance, allows_twice_the_plain_maximum_and_a_tenth_more_rms) {
  Comparison good, bad;
  for (int i = 0; i < 4096; ++i) {
    const double plain_error = 1e-3 * (i % 2 ? 1 : -1);
    good.add({}, 1.0, 1.0 + plain_error, 1.0 + 1.05 * plain_error);
    bad.add({}, 1.0, 1.0 + plain_error, 1.0 + 1.2 * plain_error);
  }
  EXPECT_TRUE(passes(good, tolerance_of(good, DType::kF32)));
  EXPECT_FALSE(passes(bad, tolerance_of(bad, DType::kF32)));
}

}  // namespace
}  // namespace fovea
