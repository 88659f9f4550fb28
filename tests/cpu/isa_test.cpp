// SPDX-License-Identifier: Apache-2.0
#include "cpu/isa.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "fovea/error.h"

namespace fovea::cpu {
namespace {

Processor processor_with(std::string vendor, InstructionSets has) {
  Processor p;
  p.vendor = std::move(vendor);
  p.model_name = "a test's processor";
  p.has = has;
  return p;
}

#ifdef __x86_64__
constexpr InstructionSets kHaswell = {.sse2 = true, .avx2 = true};
constexpr InstructionSets kIceLake = {.sse2 = true, .avx2 = true, .avx512 = true, .avx512_vnni = true};
constexpr InstructionSets kZen4 = {
    .sse2 = true, .avx2 = true, .avx512 = true, .avx512_vnni = true, .avx512_bf16 = true};
constexpr InstructionSets kSapphireRapids = {.sse2 = true,
                                             .avx2 = true,
                                             .avx512 = true,
                                             .avx512_vnni = true,
                                             .avx512_bf16 = true,
                                             .avx512_fp16 = true,
                                             .amx_tile = true,
                                             .amx_bf16 = true};

TEST(Isa, the_default_is_the_fastest_unit_of_each_processor) {
  EXPECT_EQ(choose_unit(processor_with("", {}), "").name, "baseline");
  EXPECT_EQ(choose_unit(processor_with("GenuineIntel", kHaswell), "").name, "avx2");
  EXPECT_EQ(choose_unit(processor_with("GenuineIntel", kIceLake), "").name, "avx512");
  EXPECT_EQ(choose_unit(processor_with("AuthenticAMD", kZen4), "").name, "avx512bf16");
  EXPECT_EQ(choose_unit(processor_with("GenuineIntel", kZen4), "").name, "avx512") << "no gain from vdpbf16ps";
  EXPECT_EQ(choose_unit(processor_with("GenuineIntel", kSapphireRapids), "").name, "amx");
}

TEST(Isa, every_unit_that_runs_can_be_forced) {
  const Processor p = processor_with("GenuineIntel", kSapphireRapids);
  for (const Unit& unit : units()) EXPECT_EQ(choose_unit(p, unit.name).name, unit.name);
}

TEST(Isa, a_dtype_that_a_unit_lacks_goes_to_the_next_weaker) {
  EXPECT_EQ(unit_for("amx", DType::kBF16).name, "amx");
  EXPECT_EQ(unit_for("amx", DType::kF32).name, "avx512");
  EXPECT_EQ(unit_for("avx512bf16", DType::kBF16).name, "avx512bf16");
  EXPECT_EQ(unit_for("avx512bf16", DType::kF16).name, "avx512");
  EXPECT_EQ(unit_for("avx2", DType::kF16).name, "avx2");
  EXPECT_THROW(unit_for("avx2", DType::kI32), Error);
}

TEST(Isa, a_unit_that_does_not_run_is_refused_with_what_does) {
  try {
    choose_unit(processor_with("GenuineIntel", kIceLake), "amx");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.field(), "cpu_isa");
    const std::string message = error.what();
    EXPECT_NE(message.find("'amx'"), std::string::npos) << message;
    EXPECT_NE(message.find("baseline, avx2, avx512;"), std::string::npos) << message;
  }
}
#endif

TEST(Isa, an_unknown_name_is_refused_with_the_known_ones) {
  try {
    choose_unit(processor_with("", {}), "sse9");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "cpu_isa");
    EXPECT_NE(std::string(error.what()).find("must be one of baseline"), std::string::npos) << error.what();
  }
}

TEST(Isa, the_names_of_the_units_are_the_names_in_their_tables) {
  for (const Unit& unit : units()) EXPECT_EQ(unit.kernels().isa, unit.name);
}

}  // namespace
}  // namespace fovea::cpu
