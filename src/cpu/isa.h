// SPDX-License-Identifier: Apache-2.0
// The units (kernels compiled for one instruction set) that this build has, and the choice among them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/matmul_kernels.h"
#include "cpu/processor.h"

namespace fovea::cpu {

struct Unit {
  std::string_view name;   // "avx512bf16": what RuntimeOptions::cpu_isa and FOVEA_CPU_ISA take
  std::string_view needs;  // in words, for messages
  bool (*runs_on)(const InstructionSets& has);
  const Kernels& (*kernels)();
  // Element types that the unit brings kernels for; the others are left to the next weaker unit.
  bool has_f32;
  bool has_f16;
  bool has_bf16;
  const MatmulKernels& (*matmul_kernels)(DType dtype);  // the unit's own, or a weaker one's that serves better
};

/// Weakest first; the first is the portable baseline.
std::span<const Unit> units();

/// Names of the units that run on this processor, weakest first: "baseline, avx2, avx512".
std::string names_of_runnable_units(const Processor& processor);

/// The unit that kernels are chosen from: the requested one, or the fastest if `requested` is empty.
/// Throws kInvalidArgument (field cpu_isa) for an unknown name and for a unit that this processor does not run.
const Unit& choose_unit(const Processor& processor, std::string_view requested);

/// The unit of that name (one that choose_unit gave).
const Unit& unit_named(std::string_view isa);

/// The unit that serves dtype when `isa` (a name that choose_unit gave) is chosen: itself, or the next weaker one that
/// has kernels for dtype.
const Unit& unit_for(std::string_view isa, DType dtype);

}  // namespace fovea::cpu
