// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/hash.h"
#include "base/log.h"
#include "base/math.h"
#include "base/settings.h"
#include "fovea/error.h"

namespace fovea {
namespace {

TEST(Convert, every_half_survives_the_way_to_float_and_back) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = fp16_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(fp16_to_float(float_to_fp16(value))));
    } else {
      ASSERT_EQ(float_to_fp16(value), half) << bits;
    }
  }
}

TEST(Convert, every_bfloat16_survives_the_way_to_float_and_back) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_float(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(value))));
    } else {
      ASSERT_EQ(float_to_bf16(value), bits);
    }
  }
}

TEST(Convert, rounds_to_nearest_even) {
  EXPECT_EQ(float_to_bf16(1.0f + 0x1p-8f), 0x3f80);      // half way: to even
  EXPECT_EQ(float_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);  // half way: to even
  EXPECT_EQ(float_to_fp16(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(float_to_fp16(1.0f + 3 * 0x1p-11f), 0x3c02);
  EXPECT_EQ(float_to_fp16(65519.0f), 0x7bff);  // the last float below the tie
  EXPECT_EQ(float_to_fp16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_fp16(0x1p-25f), 0x0000);  // half of the least subnormal: to even
  EXPECT_EQ(float_to_fp16(0x1.8p-25f), 0x0001);
  EXPECT_EQ(float_to_fp16(-std::numeric_limits<float>::infinity()), 0xfc00);
}

TEST(Math, products_that_overflow_are_nothing) {
  EXPECT_EQ(checked_product({3, 4, 5}), 60);
  EXPECT_FALSE(checked_product({std::int64_t{1} << 40, std::int64_t{1} << 40}));
  EXPECT_FALSE(checked_product({-1, 2}));
}

TEST(Settings, a_thread_count_that_is_no_number_is_an_error_that_names_the_variable) {
  ::setenv("FOVEA_NUM_THREADS", "many", 1);
  try {
    read_settings();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "FOVEA_NUM_THREADS");
  }
  ::unsetenv("FOVEA_NUM_THREADS");
}

TEST(Settings, omp_num_threads_may_be_a_list) {
  ::setenv("OMP_NUM_THREADS", "3,2", 1);
  EXPECT_EQ(read_settings().num_threads, 3);
  ::unsetenv("OMP_NUM_THREADS");
}

TEST(Log, levels_parse_and_others_are_refused) {
  EXPECT_EQ(parse_log_level(""), LogLevel::kWarn);
  EXPECT_EQ(parse_log_level("debug"), LogLevel::kDebug);
  EXPECT_THROW(parse_log_level("loud"), Error);
}

TEST(Hash, text_boundaries_matter) {
  EXPECT_NE(Hasher().add("ab").add("c").value(), Hasher().add("a").add("bc").value());
}

}  // namespace
}  // namespace fovea
