// SPDX-License-Identifier: Apache-2.0
// fovea cache ls | verify | prune | clear, and fovea prebuild: compiled GPU kernels on disk.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/problem_options.h"
#include "fovea/kernel_cache.h"

namespace fovea::cli {
namespace {

struct CacheOptions {
  CallOptions call;
  std::optional<double> max_megabytes;
  std::optional<double> max_age_days;
  std::vector<std::string> architectures;
  std::string folder;
};

double megabytes(std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

nlohmann::ordered_json json_of(const CachedKernel& k) {
  return {
      {"kernel", k.kernel}, {"architecture", k.architecture},      {"config", k.config},           {"nvrtc", k.nvrtc},
      {"bytes", k.bytes},   {"registers", k.registers_per_thread}, {"age_seconds", k.age_seconds}, {"fault", k.fault},
      {"path", k.path}};
}

void print_kernels(const std::vector<CachedKernel>& kernels, bool json) {
  if (json) {
    auto list = nlohmann::ordered_json::array();
    for (const CachedKernel& k : kernels) list.push_back(json_of(k));
    fmt::print("{}\n", list.dump(2));
    return;
  }
  std::int64_t bytes = 0;
  for (const CachedKernel& k : kernels) {
    bytes += k.bytes;
    fmt::print("{:<28} {:<8} {:>4} registers {:>7.1f} kB  {}\n", k.kernel.empty() ? k.path : k.kernel, k.architecture,
               k.registers_per_thread, static_cast<double>(k.bytes) / 1e3, k.fault.empty() ? k.config : k.fault);
  }
  fmt::print("{} kernels, {:.1f} MB\n", kernels.size(), megabytes(bytes));
}

int list(const CacheOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call));
  print_kernels(list_kernel_cache(runtime), json);
  return kDone;
}

int verify(const CacheOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call));
  std::vector<CachedKernel> damaged;
  const std::vector<CachedKernel> all = list_kernel_cache(runtime);
  for (const CachedKernel& k : all) {
    if (!k.fault.empty()) damaged.push_back(k);
  }
  if (json) {
    print_kernels(damaged, json);
  } else {
    for (const CachedKernel& k : damaged) fmt::print("{}: {}\n", k.path, k.fault);
    fmt::print("{} of {} kernels are whole\n", all.size() - damaged.size(), all.size());
  }
  return damaged.empty() ? kDone : kFoundProblem;
}

void print_change(const CacheChange& change, bool json) {
  if (json) {
    const nlohmann::ordered_json j = {{"removed", change.removed},
                                      {"removed_bytes", change.removed_bytes},
                                      {"kept", change.kept},
                                      {"kept_bytes", change.kept_bytes}};
    fmt::print("{}\n", j.dump(2));
    return;
  }
  fmt::print("removed {} ({:.1f} MB), kept {} ({:.1f} MB)\n", change.removed, megabytes(change.removed_bytes),
             change.kept, megabytes(change.kept_bytes));
}

int prune(const CacheOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call));
  std::optional<std::int64_t> max_bytes;
  if (options.max_megabytes) max_bytes = static_cast<std::int64_t>(*options.max_megabytes * 1e6);
  print_change(prune_kernel_cache(runtime, max_bytes, options.max_age_days), json);
  return kDone;
}

int clear(const CacheOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call));
  print_change(clear_kernel_cache(runtime), json);
  return kDone;
}

int prebuild(const CacheOptions& options, bool json) {
  Runtime runtime(runtime_options(options.call));
  print_kernels(prebuild_attention(runtime, options.architectures, options.folder), json);
  return kDone;
}

using Work = int (*)(const CacheOptions&, bool);

CLI::App* add_command(CLI::App& parent, Invocation& invocation, const std::shared_ptr<CacheOptions>& options,
                      const char* name, const char* text, Work work) {
  CLI::App* command = parent.add_subcommand(name, text);
  add_machine_options(*command, options->call);
  add_json_flag(*command, invocation);
  command->callback([options, &invocation, work] {
    invocation.action = [options, &invocation, work] { return work(*options, invocation.json); };
  });
  return command;
}

}  // namespace

void add_cache(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<CacheOptions>();
  CLI::App* command = app.add_subcommand("cache", "Compiled GPU kernels on disk");
  command->require_subcommand(1);
  add_command(*command, invocation, options, "ls", "What the cache holds, newest first", list);
  add_command(*command, invocation, options, "verify", "Check every entry; exit 1 if one is damaged", verify);
  add_command(*command, invocation, options, "clear", "Remove every entry", clear);
  CLI::App* pruning =
      add_command(*command, invocation, options, "prune", "Remove damaged entries and those over the limits", prune);
  pruning->add_option("--max-megabytes", options->max_megabytes, "Keep the most recently used up to this size")
      ->check(CLI::NonNegativeNumber);
  pruning->add_option("--max-age-days", options->max_age_days, "Remove what was not used for so long")
      ->check(CLI::NonNegativeNumber);
}

void add_prebuild(CLI::App& app, Invocation& invocation) {
  auto options = std::make_shared<CacheOptions>();
  CLI::App* command = add_command(app, invocation, options, "prebuild",
                                  "Compile the usual GPU kernels ahead, for machines without NVRTC", prebuild);
  command->add_option("--arch", options->architectures, "sm_80, sm_90a …; comma-separated")->delimiter(',')->required();
  command->add_option("--output,-o", options->folder, "Folder for the kernels; FOVEA_PREBUILT names it to a runtime")
      ->required();
  command->footer("Example:\n  fovea prebuild --arch sm_80,sm_90a -o kernels && FOVEA_PREBUILT=kernels fovea …");
}

}  // namespace fovea::cli
