// SPDX-License-Identifier: Apache-2.0
// The compile ring: every candidate of every GPU card, for every architecture, through NVRTC, on a machine that needs
// no GPU. Fails on a remark that code was serialised (C75xx), on spills that the kernel's header does not allow, and on
// registers or shared memory beyond the architecture's limits. Prints resources, occupancy and time.
//   fovea_compile_ring [--arch sm_80,…] [--cache FOLDER] [--processes N]
// Exit status 0 all passed, 1 something failed, 77 no NVRTC (a skipped test to ctest).
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "attention/catalogue.h"
#include "attention/kernels.h"
#include "base/log.h"
#include "compile_ring/spills.h"
#include "cuda/architectures.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr int kSkipped = 77;

struct RingOptions {
  std::vector<std::string> architectures = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};
  std::string cache = FOVEA_BINARY_DIR "/compile_ring_cache";
  int processes = 2;
};

struct Job {
  const DeviceInfo* device;
  const AttentionKernel* kernel;
  AttentionProblem problem;
  AttentionConfig config;
};

std::vector<Job> all_jobs(const std::vector<DeviceInfo>& devices) {
  std::vector<Job> jobs;
  for (const DeviceInfo& device : devices) {
    for (const AttentionProblem& problem : attention_catalogue()) {
      for (const AttentionKernel* kernel : attention_kernels()) {
        if (!kernel->supports(problem, device)) continue;
        for (const AttentionConfig& config : kernel->candidates(problem, device)) {
          const bool is_new = std::none_of(jobs.begin(), jobs.end(), [&](const Job& j) {
            return j.device == &device && j.kernel == kernel && j.config == config;
          });
          if (is_new) jobs.push_back({&device, kernel, problem, config});
        }
      }
    }
  }
  return jobs;
}

std::string describe(const Job& job) {
  const AttentionConfig& c = job.config;
  return fmt::format("{} {} {} d={}/{} mask={} {}x{} stages={} warps={}{}{}{}{}", job.device->architecture,
                     job.kernel->name, name_of(c.dtype), c.head_dim_qk, c.head_dim_v, static_cast<int>(c.mask),
                     c.block_q, c.block_k, c.stages, c.warps, c.has_lse ? " lse" : "", c.has_softcap ? " softcap" : "",
                     c.is_packed ? " packed" : "", c.is_split ? " split" : "");
}

/// Compiles one job; returns what is wrong with its plan, or nothing.
std::string run_job(Runtime& runtime, const Job& job) {
  try {
    const AttentionPlan plan = job.kernel->prepare(runtime, job.problem, *job.device, job.config);
    const LaunchShape& l = plan.launch;
    fmt::print("{}: {} threads, {} registers, {:.1f} KiB shared, {} blocks per SM, {:.1f} kB of code\n", describe(job),
               l.threads_per_block, l.registers_per_thread, l.shared_bytes / 1024.0, l.blocks_per_sm,
               static_cast<double>(l.code_bytes) / 1e3);
    if (l.shared_bytes > job.device->shared_per_block_bytes) {
      return fmt::format("{} bytes of shared memory, the architecture has {}", l.shared_bytes,
                         job.device->shared_per_block_bytes);
    }
    if (l.blocks_per_sm < 1) return "no block fits on an SM";
    return {};
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// What the compiler said about one kernel: remarks and spills that are not allowed.
std::string judge(const jit::CompiledKernel& k, const std::vector<AllowedSpill>& allowed) {
  std::string wrong = k.remarks.empty() ? "" : "remarks: " + k.remarks;
  const int spills = std::max(k.resources.spill_store_bytes, k.resources.spill_load_bytes);
  if (spills > allowed_spill_bytes(allowed, k.entry, k.architecture, k.config)) {
    wrong += fmt::format("{}{} bytes stored and {} loaded by spills; its header does not allow that",
                         wrong.empty() ? "" : "; ", k.resources.spill_store_bytes, k.resources.spill_load_bytes);
  }
  return wrong;
}

/// Every n-th job from the first on; returns the number of failures.
int run_share(const RingOptions& options, const std::vector<Job>& jobs, int first) {
  Runtime runtime({.num_threads = 1, .cpu_isa = {}, .cache_dir = options.cache, .kernel_dir = {}});
  set_log_level(LogLevel::kError);  // the lines below say what is slow
  jit::Compiler& compiler = runtime.impl().compiler;
  const std::vector<AllowedSpill> allowed = allowed_spills(compiler.texts());
  int failures = 0;
  for (std::size_t i = static_cast<std::size_t>(first); i < jobs.size();
       i += static_cast<std::size_t>(options.processes)) {
    const std::string wrong = run_job(runtime, jobs[i]);
    if (wrong.empty()) continue;
    fmt::print("FAILED {}: {}\n", describe(jobs[i]), wrong);
    ++failures;
  }
  int compiled = 0;
  double compile_ms = 0;
  for (const auto& kernel : compiler.compiled()) {
    compiled += kernel->origin == jit::Origin::kCompiled;
    compile_ms += kernel->compile_ms;
    const std::string wrong = judge(*kernel, allowed);
    if (wrong.empty()) continue;
    fmt::print("FAILED {} {} {}: {}\n", kernel->architecture, kernel->entry, kernel->config, wrong);
    ++failures;
  }
  fmt::print("process {}: {} kernels, {} of them compiled now in {:.1f} s\n", first, compiler.compiled().size(),
             compiled, compile_ms / 1e3);
  std::fflush(stdout);
  return failures;
}

/// The same in processes of their own: NVRTC holds a lock while it compiles. Returns the number of failures.
int run_all(const RingOptions& options, const std::vector<Job>& jobs) {
  std::vector<pid_t> children;
  std::fflush(stdout);
  for (int i = 0; i < options.processes; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(std::min(run_share(options, jobs, i), 100));
    children.push_back(child);
  }
  int failures = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) failures += WEXITSTATUS(status);
    if (!WIFEXITED(status)) {
      fmt::print("FAILED: a process ended with signal {}\n", WTERMSIG(status));
      ++failures;
    }
  }
  return failures;
}

RingOptions parse(int argc, char** argv) {
  RingOptions options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--cache") options.cache = value;
    if (name == "--processes") options.processes = std::max(1, std::atoi(value.c_str()));
    if (name != "--arch") continue;
    options.architectures.clear();
    for (std::size_t begin = 0; begin <= value.size();) {
      const std::size_t end = std::min(value.find(',', begin), value.size());
      options.architectures.push_back(value.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return options;
}

int ring(const RingOptions& options) {
  jit::Compiler probe(jit::compiler_options(read_settings()));
  if (!probe.nvrtc().present()) {
    fmt::print("skipped: {}\n", probe.nvrtc().absence());
    return kSkipped;
  }
  std::vector<DeviceInfo> devices;
  for (const std::string& name : options.architectures) {
    const DeviceInfo device = cuda::require_architecture(name);
    if (probe.nvrtc().supports(device.architecture)) {
      devices.push_back(device);
    } else {
      fmt::print("left out: NVRTC {} does not compile for {}\n", probe.nvrtc().version(), device.architecture);
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<Job> jobs = all_jobs(devices);
  const int failures = run_all(options, jobs);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  fmt::print("compile ring: {} candidates, {} failed, {} architectures, NVRTC {}, {:.1f} s\n", jobs.size(), failures,
             devices.size(), probe.nvrtc().version(), seconds.count());
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // processes share it, and a person may be watching
  try {
    return fovea::ring(fovea::parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "fovea_compile_ring: {}\n", error.what());
    return 1;
  }
}
