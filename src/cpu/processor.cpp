// SPDX-License-Identifier: Apache-2.0
#include "cpu/processor.h"

#include <sched.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace fovea::cpu {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double number(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? static_cast<double>(value) : 0;
}

/// Logical processors of the affinity mask, whatever their number.
std::vector<int> allowed_processors() {
  std::vector<int> allowed;
  for (int capacity = 1024; capacity <= (1 << 20); capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(capacity));
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(capacity));
    const bool known = set && ::sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !known && errno == EINVAL;
    for (int i = 0; known && i < capacity; ++i) {
      if (CPU_ISSET_S(static_cast<std::size_t>(i), bytes, set)) allowed.push_back(i);
    }
    CPU_FREE(set);
    if (!too_small) break;
  }
  if (allowed.empty()) {
    for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
      allowed.push_back(static_cast<int>(i));
  }
  return allowed;
}

int count_cores(const std::vector<int>& processors) {
  std::set<std::string> cores;  // two threads of one core list the same siblings
  for (int processor : processors) {
    const std::string path = fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", processor);
    const std::string siblings = first_line(path);
    cores.insert(siblings.empty() ? std::to_string(processor) : siblings);
  }
  return static_cast<int>(cores.size());
}

double smaller_quota(double a, double b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

/// The tightest limit from this process's control group up to the root. Inside a container the mounted root is often
/// the container's own group and the path of /proc/self/cgroup does not exist below it: then only the root counts.
template <typename ReadQuota>
double tightest_quota(const std::string& mount, std::string path, ReadQuota read) {
  double quota = read(mount);
  while (!path.empty() && path != "/") {
    quota = smaller_quota(quota, read(mount + path));
    path.resize(path.rfind('/'));
  }
  return quota;
}

double control_group_quota() {
  const auto version2 = [](const std::string& group) { return parse_cpu_max(first_line(group + "/cpu.max")); };
  const auto version1 = [](const std::string& group) {
    const double quota = number(first_line(group + "/cpu.cfs_quota_us"));
    const double period = number(first_line(group + "/cpu.cfs_period_us"));
    return quota > 0 && period > 0 ? quota / period : 0;
  };
  double quota = 0;
  std::ifstream groups("/proc/self/cgroup");  // lines "hierarchy:controllers:path"
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      quota = smaller_quota(quota, tightest_quota("/sys/fs/cgroup", path, version2));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      quota = smaller_quota(quota, tightest_quota("/sys/fs/cgroup/cpu", path, version1));
    }
  }
  return quota;
}

/// The size of the data or unified cache of a level, from sysfs; 0 where it does not say.
std::int64_t cache_bytes(int processor, int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string base = fmt::format("/sys/devices/system/cpu/cpu{}/cache/index{}/", processor, index);
    if (first_line(base + "level") != std::to_string(level) || first_line(base + "type") == "Instruction") continue;
    const std::string size = first_line(base + "size");  // "48K"
    const double unit = size.ends_with('K') ? 1024.0 : size.ends_with('M') ? 1048576.0 : 1.0;
    return static_cast<std::int64_t>(number(size) * unit);
  }
  return 0;
}

std::string model_name_of_system() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name") && !line.starts_with("Model")) continue;
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

#ifdef __x86_64__
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);  // leaves r as it is when the leaf does not exist
  return r;
}

bool bit(unsigned word, int n) { return (word >> n) & 1u; }

std::uint64_t enabled_state() {
  unsigned low = 0, high = 0;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

/// Linux hands out AMX tile data on request only (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr int kGetPermission = 0x1022, kRequestPermission = 0x1023, kTileData = 18;
  unsigned long granted = 0;
  if (::syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return false;
  return ::syscall(SYS_arch_prctl, kGetPermission, &granted) == 0 && ((granted >> kTileData) & 1u);
}

// Bits: Intel SDM volume 2, CPUID; state components: volume 1, section 13.1.
InstructionSets detect_instruction_sets() {
  const Registers one = cpuid(1), seven = cpuid(7), seven_one = cpuid(7, 1), tiles = cpuid(0x1e, 1);
  InstructionSets has;
  has.sse2 = bit(one.d, 26);
  const std::uint64_t state = bit(one.c, 27) ? enabled_state() : 0;  // osxsave
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tmm = (state & 0x60000) == 0x60000;
  has.avx2 = ymm && bit(one.c, 28) && bit(seven.b, 5) && bit(one.c, 12) && bit(one.c, 29);
  has.avx512 = has.avx2 && zmm && bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31);
  has.avx512_vnni = has.avx512 && bit(seven.c, 11);
  has.avx512_bf16 = has.avx512 && bit(seven_one.a, 5);
  has.avx512_fp16 = has.avx512 && bit(seven.d, 23);
  has.amx_tile = has.avx512 && tmm && bit(seven.d, 24) && may_use_tiles();
  has.amx_bf16 = has.amx_tile && bit(seven.d, 22);
  has.amx_fp16 = has.amx_tile && (bit(seven_one.a, 21) || bit(tiles.a, 3));
  return has;
}

void identify(Processor* p) {
  const Registers zero = cpuid(0), one = cpuid(1);
  for (unsigned word : {zero.b, zero.d, zero.c}) {
    for (int i = 0; i < 4; ++i) p->vendor += static_cast<char>(word >> (8 * i));
  }
  p->stepping = static_cast<int>(one.a & 15);
  p->family = static_cast<int>((one.a >> 8) & 15);
  p->model = static_cast<int>((one.a >> 4) & 15);
  if (p->family == 6 || p->family == 15) p->model += static_cast<int>((one.a >> 16) & 15) << 4;
  if (p->family == 15) p->family += static_cast<int>((one.a >> 20) & 255);
  p->has = detect_instruction_sets();
}

/// Caches from cpuid, where the system hides them: leaf 4 (Intel), 0x8000001d (AMD, same layout).
std::int64_t cache_bytes_of_cpuid(const Processor& p, int level) {
  const unsigned leaf = p.vendor == "AuthenticAMD" ? 0x8000001du : 4u;
  for (unsigned i = 0; i < 8; ++i) {
    const Registers r = cpuid(leaf, i);
    const unsigned type = r.a & 31u;  // 1 data, 2 instructions, 3 both
    if (type == 0) break;
    if (type == 2 || static_cast<int>((r.a >> 5) & 7u) != level) continue;
    const std::int64_t ways = (r.b >> 22) + 1, partitions = ((r.b >> 12) & 1023u) + 1, line = (r.b & 4095u) + 1;
    return ways * partitions * line * (static_cast<std::int64_t>(r.c) + 1);
  }
  return 0;
}
#else
void identify(Processor*) {}
std::int64_t cache_bytes_of_cpuid(const Processor&, int) { return 0; }
#endif

}  // namespace

double parse_cpu_max(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || text.starts_with("max")) return 0;
  const double quota = number(text.substr(0, space)), period = number(text.substr(space + 1));
  return quota > 0 && period > 0 ? quota / period : 0;
}

std::string parse_huge_pages(std::string_view text) {
  const std::size_t open = text.find('['), close = text.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return "";
  return std::string(text.substr(open + 1, close - open - 1));
}

Processor detect_processor() {
  Processor p;
  identify(&p);
  p.model_name = model_name_of_system();
  const std::vector<int> allowed = allowed_processors();
  p.num_processors = static_cast<int>(allowed.size());
  p.num_cores = count_cores(allowed);
  p.quota = control_group_quota();
  p.huge_pages = parse_huge_pages(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  std::int64_t* const caches[] = {&p.l1_bytes, &p.l2_bytes, &p.l3_bytes};
  for (int level = 1; level <= 3; ++level) {
    const std::int64_t bytes = cache_bytes(allowed.front(), level);
    *caches[level - 1] = bytes > 0 ? bytes : cache_bytes_of_cpuid(p, level);
  }
  return p;
}

int default_num_threads(const Processor& processor) {
  if (processor.quota == 0) return processor.num_cores;
  return std::clamp(static_cast<int>(std::ceil(processor.quota)), 1, processor.num_cores);
}

int usable_processors() {
  const int allowed = static_cast<int>(allowed_processors().size());
  const double quota = control_group_quota();
  return quota == 0 ? allowed : std::clamp(static_cast<int>(std::ceil(quota)), 1, allowed);
}

std::vector<std::string_view> names_of(const InstructionSets& has) {
  const std::pair<bool, std::string_view> all[] = {
      {has.sse2, "sse2"},
      {has.avx2, "avx2"},
      {has.avx512, "avx512"},
      {has.avx512_vnni, "avx512_vnni"},
      {has.avx512_bf16, "avx512_bf16"},
      {has.avx512_fp16, "avx512_fp16"},
      {has.amx_tile, "amx_tile"},
      {has.amx_bf16, "amx_bf16"},
      {has.amx_fp16, "amx_fp16"},
  };
  std::vector<std::string_view> names;
  for (const auto& [present, name] : all) {
    if (present) names.push_back(name);
  }
  return names;
}

DeviceInfo device_info(const Processor& processor, std::string_view isa, int num_threads) {
  DeviceInfo info;
  info.device = {DeviceKind::kCPU, 0};
  info.name = processor.model_name;
  info.architecture = "cpu";
  info.isa = isa;
  info.num_threads = num_threads;
  info.l1_bytes = processor.l1_bytes;
  info.l2_bytes = processor.l2_bytes;
  info.l3_bytes = processor.l3_bytes;
  return info;
}

}  // namespace fovea::cpu
