// SPDX-License-Identifier: Apache-2.0
#include "cpu/isa.h"

#include <algorithm>

#include "base/check.h"

namespace fovea::cpu {
namespace {

constexpr Unit kUnits[] = {
    {"baseline", "any processor", [](const InstructionSets&) { return true; }, baseline_kernels, true, true, true,
     baseline::matmul_kernels},
#ifdef __x86_64__
    {"avx2", "AVX2, FMA and F16C", [](const InstructionSets& has) { return has.avx2; }, avx2_kernels, true, true, true,
     avx2::matmul_kernels},
    {"avx512", "AVX-512 F, BW, DQ and VL", [](const InstructionSets& has) { return has.avx512; }, avx512_kernels, true,
     true, true, avx512::matmul_kernels},
    {"avx512bf16", "AVX-512 and AVX512-BF16", [](const InstructionSets& has) { return has.avx512_bf16; },
     avx512bf16_kernels, false, false, true, avx512bf16::matmul_kernels},
    {"amx", "AMX tiles with bf16, and the system's permission to use them",
     [](const InstructionSets& has) { return has.amx_bf16; }, amx_kernels, false, true, true, amx::matmul_kernels},
#endif
};

const Unit* find_unit(std::string_view name) {
  const auto* found = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& u) { return u.name == name; });
  return found == std::end(kUnits) ? nullptr : found;
}

std::string joined_names(bool (*include)(const Unit&, const InstructionSets&), const InstructionSets& has) {
  std::string names;
  for (const Unit& unit : kUnits) {
    if (!include(unit, has)) continue;
    if (!names.empty()) names += ", ";
    names += unit.name;
  }
  return names;
}

/// Whether a unit that runs here is also the better choice. On Intel's processors vdpbf16ps does half the work per
/// cycle of two fp32 multiply-adds (Sapphire Rapids: 108 against 217 GFLOP/s per core), and converting to fp32 is more
/// exact; on AMD's Zen 4 and 5 it does twice the work.
bool is_worth_it(const Unit& unit, const Processor& processor) {
  return unit.name != "avx512bf16" || processor.vendor == "AuthenticAMD";
}

}  // namespace

std::span<const Unit> units() { return kUnits; }

std::string names_of_runnable_units(const Processor& processor) {
  return joined_names([](const Unit& unit, const InstructionSets& has) { return unit.runs_on(has); }, processor.has);
}

const Unit& choose_unit(const Processor& processor, std::string_view requested) {
  if (requested.empty()) {
    const auto best = std::find_if(std::rbegin(kUnits), std::rend(kUnits), [&](const Unit& unit) {
      return unit.runs_on(processor.has) && is_worth_it(unit, processor);
    });
    return *best;  // the baseline runs everywhere
  }
  const Unit* unit = find_unit(requested);
  check(unit != nullptr, ErrorCode::kInvalidArgument, "cpu_isa", "cpu_isa is '{}', must be one of {}", requested,
        joined_names([](const Unit&, const InstructionSets&) { return true; }, processor.has));
  check(
      unit->runs_on(processor.has), ErrorCode::kInvalidArgument, "cpu_isa",
      "cpu_isa is '{}', which needs {}; this processor ({}) runs {}; leave cpu_isa (FOVEA_CPU_ISA) empty for the best",
      requested, unit->needs, processor.model_name, names_of_runnable_units(processor));
  return *unit;
}

const Unit& unit_named(std::string_view isa) {
  const Unit* unit = find_unit(isa);
  check(unit != nullptr, ErrorCode::kInternal, "isa", "isa is '{}', which is no unit of this build", isa);
  return *unit;
}

const Unit& unit_for(std::string_view isa, DType dtype) {
  const Unit* unit = &unit_named(isa);
  const auto serves = [dtype](const Unit& u) {
    return dtype == DType::kF32 ? u.has_f32 : dtype == DType::kF16 ? u.has_f16 : dtype == DType::kBF16 && u.has_bf16;
  };
  while (!serves(*unit)) {
    check(unit != kUnits, ErrorCode::kInternal, "dtype", "dtype is {}, which no unit serves", name_of(dtype));
    --unit;
  }
  return *unit;
}

}  // namespace fovea::cpu
