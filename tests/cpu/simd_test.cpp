// SPDX-License-Identifier: Apache-2.0
// The words that convert 16-bit floats, over all their values, and those of AVX2 and AVX-512 against the portable ones.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cpu/simd/avx2.h"
#include "cpu/simd/avx512.h"
#include "cpu/simd/portable.h"

namespace fovea::cpu {
namespace {

double value_of_half(unsigned bits) {
  const double sign = bits & 0x8000u ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> 10 & 31u);
  const double fraction = bits & 0x3ffu;
  return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024.0 + fraction, exponent - 25);
}

TEST(Simd, every_half_becomes_its_value_and_itself_again) {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const Half half = {static_cast<unsigned short>(bits)};
    const float x = baseline::to_float(half);
    if ((bits & 0x7fffu) > 0x7c00u) {
      ASSERT_TRUE(std::isnan(x)) << bits;
      continue;
    }
    if ((bits & 0x7fffu) == 0x7c00u) {
      ASSERT_TRUE(std::isinf(x)) << bits;
    } else {
      ASSERT_EQ(x, value_of_half(bits)) << bits;
    }
    Half again;
    baseline::from_float(x, &again);
    ASSERT_EQ(again.bits, bits);
  }
}

TEST(Simd, halves_and_bfloat16_round_to_nearest_even) {
  const auto half = [](float x) {
    Half h;
    baseline::from_float(x, &h);
    return baseline::to_float(h);
  };
  EXPECT_EQ(half(1.0f + 0x1p-11f), 1.0f);
  EXPECT_EQ(half(1.0f + 3 * 0x1p-11f), 1.0f + 0x1p-9f);
  EXPECT_EQ(half(65519.0f), 65504.0f);
  EXPECT_TRUE(std::isinf(half(65520.0f)));
  EXPECT_EQ(half(0x1p-25f), 0.0f);
  EXPECT_EQ(half(3 * 0x1p-26f), 0x1p-24f);
  Bfloat16 b;
  baseline::from_float(1.0f + 0x1p-8f, &b);
  EXPECT_EQ(baseline::to_float(b), 1.0f);
  baseline::from_float(NAN, &b);
  EXPECT_TRUE(std::isnan(baseline::to_float(b)));
}

#if defined(__x86_64__)
/// Both types of 16 bits through memory: bits -> float -> bits, 16 at a time.
FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512)
template <typename T>
void through_avx512(const T* from, float* floats, T* to) {
  const avx512::Vec v = avx512::load_row(from);
  avx512::store_row(floats, v);
  avx512::store_row(to, v, 15);
}
FOVEA_ISA_END
FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX2)
template <typename T>
void through_avx2(const T* from, float* floats, T* to) {
  for (int half = 0; half < 16; half += 8) {
    const avx2::Vec v = avx2::load_row(from + half);
    avx2::store_row(floats + half, v);
    avx2::store_row(to + half, v, half == 8 ? 7 : 8);
  }
}
FOVEA_ISA_END

template <typename T>
void expect_as_portable(void (*through)(const T*, float*, T*)) {
  for (unsigned first = 0; first < 0x10000u; first += 15) {
    T from[16], to[16] = {};
    float floats[16];
    for (unsigned i = 0; i < 16; ++i) from[i].bits = static_cast<unsigned short>(first + i);
    to[15].bits = 0x1234;  // beyond the 15 elements that are stored
    through(from, floats, to);
    ASSERT_EQ(to[15].bits, 0x1234);
    for (unsigned i = 0; i < 15; ++i) {
      const float expected = baseline::to_float(from[i]);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(floats[i]) && std::isnan(baseline::to_float(to[i]))) << first + i;
      } else {
        ASSERT_EQ(std::memcmp(&floats[i], &expected, sizeof expected), 0) << first + i;
        ASSERT_EQ(to[i].bits, from[i].bits);
      }
    }
  }
}

TEST(Simd, avx2_converts_as_the_portable_words) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("f16c")) GTEST_SKIP() << "needs AVX2 and F16C";
  expect_as_portable<Half>(through_avx2<Half>);
  expect_as_portable<Bfloat16>(through_avx2<Bfloat16>);
}

TEST(Simd, avx512_converts_as_the_portable_words) {
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) GTEST_SKIP() << "needs AVX-512";
  expect_as_portable<Half>(through_avx512<Half>);
  expect_as_portable<Bfloat16>(through_avx512<Bfloat16>);
}
#endif

}  // namespace
}  // namespace fovea::cpu
