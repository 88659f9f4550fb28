// SPDX-License-Identifier: Apache-2.0
#include "cpu/peak.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/isa.h"

namespace fovea::cpu {
namespace {

TEST(Peak, every_unit_that_runs_here_has_loops_that_count_ordinary_numbers) {
  const Processor processor = detect_processor();
  for (const Unit& unit : units()) {
    const Peaks& peaks = peaks_of(unit.name);
    EXPECT_EQ(peaks.isa, unit.name);
    if (!unit.runs_on(processor.has)) continue;
    for (const FlopLoop& loop : {peaks.f32, peaks.bf16}) {
      if (!loop.run) continue;
      const float result = loop.run(100000);
      EXPECT_TRUE(std::isnormal(result)) << unit.name << " " << loop.instruction << ": " << result;
    }
  }
}

TEST(Peak, a_read_loop_sees_every_byte) {
  const Processor processor = detect_processor();
  AlignedBuffer memory(8192);
  auto* bytes = static_cast<unsigned char*>(memory.data());
  for (const Unit& unit : units()) {
    if (!unit.runs_on(processor.has)) continue;
    std::fill(bytes, bytes + 8192, static_cast<unsigned char>(0));
    const auto read = [&] { return peaks_of(unit.name).read(bytes, 8192, 0); };
    ASSERT_EQ(read(), 0) << unit.name;
    for (int at : {0, 15, 1024, 8191}) {
      // The result keeps two words of each vector: put the byte where one of them lies.
      const int seen = at / 64 * 64 + at % 16;
      bytes[seen] = 1;
      EXPECT_NE(read(), 0) << unit.name << " byte " << seen;
      bytes[seen] = 0;
    }
  }
}

TEST(Peak, bf16_is_measured_by_its_own_instruction_where_there_is_one) {
  EXPECT_EQ(&flop_loop("baseline", DType::kBF16), &peaks_of("baseline").f32);
#ifdef __x86_64__
  EXPECT_EQ(&flop_loop("amx", DType::kBF16), &peaks_of("amx").bf16);
  EXPECT_EQ(&flop_loop("amx", DType::kF32), &peaks_of("amx").f32);
  EXPECT_EQ(&flop_loop("avx512bf16", DType::kBF16), &peaks_of("avx512bf16").bf16);
  EXPECT_EQ(&flop_loop("avx512", DType::kF16), &peaks_of("avx512").f32);
#endif
}

TEST(Peak, several_spans_of_any_alignment_are_read_and_nothing_else) {
  // Under AddressSanitizer this test also shows that no byte outside is touched.
  std::vector<char> a(5000, 1), b(3 << 20, 2), c(100, 3);
  ThreadPool pool(3);
  const MemorySpan spans[] = {{a.data() + 3, 4990}, {b.data() + 1, (3 << 20) - 1}, {c.data(), 100}, {nullptr, 0}};
  EXPECT_GT(measure_read_bandwidth(pool, peaks_of("baseline"), spans), 0);
  EXPECT_EQ(measure_read_bandwidth(pool, peaks_of("baseline"), {}), 0);
}

TEST(Peak, measurements_are_of_a_believable_size) {
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    const double flops = measure_flops(pool, peaks_of("baseline").f32);
    EXPECT_GT(flops, 1e8);
    EXPECT_LT(flops, 1e14);
    const double bytes = ReadBuffer(pool, 3 << 20).measure(pool, peaks_of("baseline"));
    EXPECT_GT(bytes, 1e7);
    EXPECT_LT(bytes, 1e13);
  }
}

}  // namespace
}  // namespace fovea::cpu
