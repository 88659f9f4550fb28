// SPDX-License-Identifier: Apache-2.0
#include "compile_ring/spills.h"

#include <gtest/gtest.h>

#include "fovea/error.h"

namespace fovea {
namespace {

TEST(AllowedSpills, are_read_from_the_kernels_text) {
  const jit::Texts texts = {
      {"a.cuh", "// Spills: toy | sm_75 | .head_dim_qk = 512 | 64 bytes | no room for the ring\ncode\n"},
      {"b.cuh", "// Spills: other | * | * | 8 bytes | measured: costs nothing"}};
  const auto allowed = allowed_spills(texts);
  ASSERT_EQ(allowed.size(), 2u);
  EXPECT_EQ(allowed[0].reason, "no room for the ring");
  EXPECT_EQ(allowed_spill_bytes(allowed, "toy", "sm_75", "Config{.head_dim_qk = 512, .stages = 2}"), 64);
  EXPECT_EQ(allowed_spill_bytes(allowed, "toy", "sm_80", "Config{.head_dim_qk = 512}"), 0);
  EXPECT_EQ(allowed_spill_bytes(allowed, "toy", "sm_75", "Config{.head_dim_qk = 64}"), 0);
  EXPECT_EQ(allowed_spill_bytes(allowed, "other", "sm_120a", "Config{}"), 8);
}

TEST(AllowedSpills, a_line_without_a_reason_is_refused) {
  EXPECT_THROW(allowed_spills({{"a.cuh", "// Spills: toy | sm_75 | * | 64 bytes |"}}), Error);
  EXPECT_THROW(allowed_spills({{"a.cuh", "// Spills: toy, because"}}), Error);
}

}  // namespace
}  // namespace fovea
