// SPDX-License-Identifier: Apache-2.0
// The processor as a value: what it is, what of it this process may use, and which instructions it runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/device_info.h"

namespace fovea::cpu {

/// True only if the processor has the instructions and the system saves their registers. All false beside x86-64.
struct InstructionSets {
  bool sse2 = false;
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, DQ, VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool amx_tile = false;  // and the kernel granted this process the tile registers
  bool amx_bf16 = false;
  bool amx_fp16 = false;
};

struct Processor {
  std::string vendor;  // "GenuineIntel", "AuthenticAMD"
  std::string model_name;
  int family = 0;
  int model = 0;
  int stepping = 0;
  int num_processors = 1;     // logical, in this process's affinity mask
  int num_cores = 1;          // physical cores among them
  double quota = 0;           // processors' worth of time that the control group may use; 0 is no limit
  std::int64_t l1_bytes = 0;  // data cache of one core; 0 where unknown
  std::int64_t l2_bytes = 0;
  std::int64_t l3_bytes = 0;  // of one package or core complex
  std::string huge_pages;     // "always", "madvise" or "never": transparent huge pages on Linux; empty if unknown
  InstructionSets has;
};

/// Looks at the machine. On x86-64 with AMX, asks the kernel for permission to use tile registers (for the process).
Processor detect_processor();

/// Threads that make sense when nobody asked for a number: one per core, fewer under a control group's quota. A second
/// thread on a core adds nothing to kernels that keep its FMA units busy.
int default_num_threads(const Processor& processor);

/// Logical processors that this process may keep busy: affinity mask and quota. At least 1.
int usable_processors();

/// "sse2 avx2 avx512 …", in order of age.
std::vector<std::string_view> names_of(const InstructionSets& has);

/// For planning. isa: the instruction set that kernels are chosen for (isa.h).
DeviceInfo device_info(const Processor& processor, std::string_view isa, int num_threads);

/// Processors' worth of time in the text of cgroup v2's cpu.max ("200000 100000", "max 100000"); 0 is no limit.
double parse_cpu_max(std::string_view text);

/// The word in brackets of "always [madvise] never", as the kernel writes the mode of transparent huge pages.
std::string parse_huge_pages(std::string_view text);

}  // namespace fovea::cpu
