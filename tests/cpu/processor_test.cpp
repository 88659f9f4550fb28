// SPDX-License-Identifier: Apache-2.0
#include "cpu/processor.h"

#include <sched.h>

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace fovea::cpu {
namespace {

std::set<std::string> flags_of_proc_cpuinfo() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(Processor, instruction_sets_agree_with_the_kernels_list) {
  const std::set<std::string> flags = flags_of_proc_cpuinfo();
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo has no flags line (not x86-64)";
  const InstructionSets has = detect_processor().has;
  const auto listed = [&](auto... names) { return (flags.contains(names) && ...); };
  EXPECT_EQ(has.sse2, listed("sse2"));
  EXPECT_EQ(has.avx2, listed("avx2", "fma", "f16c"));
  EXPECT_EQ(has.avx512, listed("avx512f", "avx512bw", "avx512dq", "avx512vl"));
  EXPECT_EQ(has.avx512_bf16, listed("avx512_bf16"));
  EXPECT_EQ(has.avx512_fp16, listed("avx512_fp16"));
  EXPECT_TRUE(!has.amx_bf16 || listed("amx_tile", "amx_bf16"));  // the system may list them and refuse permission
}

TEST(Processor, counts_follow_the_affinity_mask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(detect_processor().num_processors, CPU_COUNT(&before));
  EXPECT_LE(usable_processors(), CPU_COUNT(&before));
  int one = 0;
  while (!CPU_ISSET(one, &before)) ++one;
  int seen = 0, usable = 0, threads = 0;
  std::thread narrow([&] {  // a thread of its own, so that the mask of the others stays as it is
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(one, &mask);
    if (sched_setaffinity(0, sizeof mask, &mask) != 0) return;
    const Processor p = detect_processor();
    seen = p.num_processors;
    threads = default_num_threads(p);
    usable = usable_processors();
  });
  narrow.join();
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(usable, 1);
  EXPECT_EQ(threads, 1);
}

TEST(Processor, a_quota_bounds_the_threads) {
  Processor p;
  p.num_cores = p.num_processors = 8;
  EXPECT_EQ(default_num_threads(p), 8);
  p.quota = 2.5;
  EXPECT_EQ(default_num_threads(p), 3);
  p.quota = 0.2;
  EXPECT_EQ(default_num_threads(p), 1);
  p.quota = 64;
  EXPECT_EQ(default_num_threads(p), 8);
}

TEST(Processor, cpu_max_is_read_as_the_kernel_writes_it) {
  EXPECT_EQ(parse_cpu_max("max 100000"), 0);
  EXPECT_EQ(parse_cpu_max("200000 100000"), 2);
  EXPECT_EQ(parse_cpu_max("50000 100000"), 0.5);
  EXPECT_EQ(parse_cpu_max(""), 0);
  EXPECT_EQ(parse_cpu_max("nonsense"), 0);
  EXPECT_EQ(parse_cpu_max("100000 0"), 0);
}

TEST(Processor, the_mode_of_huge_pages_is_the_word_in_brackets) {
  EXPECT_EQ(parse_huge_pages("always [madvise] never"), "madvise");
  EXPECT_EQ(parse_huge_pages("[always] madvise never"), "always");
  EXPECT_EQ(parse_huge_pages(""), "");
  EXPECT_EQ(parse_huge_pages("] never ["), "");
}

TEST(Processor, the_device_info_carries_what_planning_needs) {
  const Processor p = detect_processor();
  const DeviceInfo info = device_info(p, "avx2", 3);
  EXPECT_EQ(info.device, (Device{DeviceKind::kCPU, 0}));
  EXPECT_EQ(info.architecture, "cpu");
  EXPECT_EQ(info.isa, "avx2");
  EXPECT_EQ(info.num_threads, 3);
  EXPECT_EQ(info.l1_bytes, p.l1_bytes);
  EXPECT_FALSE(info.name.empty());
}

}  // namespace
}  // namespace fovea::cpu
