// SPDX-License-Identifier: Apache-2.0
#include "contract/divisor.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

constexpr unsigned kMost = (1u << 31) - 1;

TEST(Divisor, agrees_with_division_around_every_multiple) {
  for (unsigned d : {1u, 2u, 3u, 5u, 7u, 12u, 64u, 127u, 128u, 129u, 1000u, 65535u, 65536u, 65537u, 1000003u, 1u << 30,
                     (1u << 30) + 1, kMost - 1, kMost}) {
    const Divisor divisor(d);
    const unsigned last = kMost / d;  // the largest multiple that counts
    for (unsigned step = 0; step <= 1000; ++step) {
      for (unsigned q : {step, last / 1000 * step, last - step % (last + 1)}) {
        if (q > last) continue;
        EXPECT_EQ(divisor.divide(q * d), q) << d;
        EXPECT_EQ(divisor.divide(q > 0 ? q * d - 1 : 0), q > 0 ? q - 1 : 0) << d;
      }
    }
    EXPECT_EQ(divisor.divide(kMost), kMost / d) << d;
  }
}

TEST(Divisor, of_nothing_given_divides_by_one) {
  for (unsigned n : {0u, 1u, 12345u, kMost}) EXPECT_EQ(Divisor().divide(n), n);
}

}  // namespace
}  // namespace fovea
