// SPDX-License-Identifier: Apache-2.0
// Runtime::info: this machine as Fovea sees it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "cpu/isa.h"
#include "fovea/version.h"
#include "runtime.h"
#include "runtime_gpus.h"

namespace fovea {
namespace {

struct SettingRow {
  std::string name, value, from;
};

std::vector<SettingRow> setting_rows(const Settings& s, int num_threads) {
  const auto given = [](const std::string& value, const char* name) { return value.empty() ? "default" : name; };
  const auto from = [](const std::string& source) { return source.empty() ? "default" : source; };
  return {
      {"num_threads", std::to_string(num_threads), from(s.num_threads_from)},
      {"cpu_isa", s.cpu_isa, given(s.cpu_isa, "FOVEA_CPU_ISA")},
      {"cache_dir", s.cache_dir, from(s.cache_dir_from)},
      {"kernel_dir", s.kernel_dir, given(s.kernel_dir, "FOVEA_KERNEL_DIR")},
      {"nvrtc_library", s.nvrtc_library, given(s.nvrtc_library, "FOVEA_NVRTC")},
      {"cuda_home", s.cuda_home, from(s.cuda_home_from)},
      {"prebuilt_dir", s.prebuilt_dir, given(s.prebuilt_dir, "FOVEA_PREBUILT")},
      {"log_level", s.log_level.empty() ? "warn" : s.log_level, given(s.log_level, "FOVEA_LOG")},
  };
}

std::string size_text(std::int64_t bytes) {
  if (bytes <= 0) return "unknown";
  return bytes >= 1 << 20 ? fmt::format("{} MiB", bytes >> 20) : fmt::format("{} KiB", bytes >> 10);
}

std::string info_text(Runtime::Impl& runtime, const std::vector<SettingRow>& rows) {
  const cpu::Processor& p = runtime.processor;
  const int num_threads = runtime.pool.num_threads();
  std::string text = fmt::format("fovea {} (compiled by {})\n\nprocessor\n", FOVEA_VERSION_STRING, __VERSION__);
  text += fmt::format("  model          {} ({}, family {}, model {})\n", p.model_name, p.vendor, p.family, p.model);
  text += fmt::format("  cores          {} of {} logical processors; {} threads used{}\n", p.num_cores,
                      p.num_processors, num_threads, p.quota > 0 ? fmt::format("; quota {:.2f}", p.quota) : "");
  text += fmt::format("  caches         L1 {}, L2 {} per core, L3 {}\n", size_text(p.l1_bytes), size_text(p.l2_bytes),
                      size_text(p.l3_bytes));
  text += fmt::format("  huge pages     {}\n", p.huge_pages.empty() ? "unknown" : p.huge_pages);
  text += fmt::format("  instructions   {}\n", fmt::join(cpu::names_of(p.has), " "));
  text += fmt::format("  kernels        {} (it runs {})\n", runtime.cpu_isa, cpu::names_of_runnable_units(p));
  text += gpus_text(runtime);
  text += "\nsettings\n";
  for (const SettingRow& row : rows) {
    text += fmt::format("  {:<14} {:<34} {}\n", row.name, row.value.empty() ? "-" : row.value, row.from);
  }
  return text;
}

std::string info_json(Runtime::Impl& runtime, const std::vector<SettingRow>& rows) {
  const cpu::Processor& p = runtime.processor;
  nlohmann::ordered_json j = {{"version", FOVEA_VERSION_STRING}, {"compiler", __VERSION__}};
  j["processor"] = {{"model_name", p.model_name}, {"vendor", p.vendor},         {"family", p.family},
                    {"model", p.model},           {"cores", p.num_cores},       {"processors", p.num_processors},
                    {"quota", p.quota},           {"l1_bytes", p.l1_bytes},     {"l2_bytes", p.l2_bytes},
                    {"l3_bytes", p.l3_bytes},     {"huge_pages", p.huge_pages}, {"instructions", cpu::names_of(p.has)}};
  j["isa"] = runtime.cpu_isa;  // of the CPU kernels
  for (const cpu::Unit& unit : cpu::units()) {
    if (unit.runs_on(p.has)) j["runnable_isas"].push_back(unit.name);
  }
  j["threads"] = runtime.pool.num_threads();
  add_gpus_json(j, runtime);
  for (const SettingRow& row : rows) j["settings"][row.name] = {{"value", row.value}, {"from", row.from}};
  return j.dump(2);
}

}  // namespace

std::string Runtime::info(bool json) {
  const std::vector<SettingRow> rows = setting_rows(impl_->settings, impl_->pool.num_threads());
  return json ? info_json(*impl_, rows) + "\n" : info_text(*impl_, rows);
}

}  // namespace fovea
