// SPDX-License-Identifier: Apache-2.0
// The compile ring: every candidate of every GPU card, for every architecture, through NVRTC, on a machine that needs
// no GPU. Fails on a remark that code was serialised (C75xx), on spills that the kernel's header does not allow, and on
// registers or shared memory beyond the architecture's limits. Prints resources, occupancy and time.
//   fovea_compile_ring [--arch sm_80,…] [--cache FOLDER] [--processes N] [--operation matmul|attention]
// Exit status 0 all passed, 1 something failed, 77 no NVRTC (a skipped test to ctest).
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "attention/catalogue.h"
#include "attention/kernels.h"
#include "base/log.h"
#include "compile_ring/spills.h"
#include "cuda/architectures.h"
#include "matmul/catalogue.h"
#include "matmul/kernels.h"
#include "plan/choose.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr int kSkipped = 77;

struct RingOptions {
  std::vector<std::string> architectures = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"};
  std::string cache = FOVEA_BINARY_DIR "/compile_ring_cache";
  int processes = 2;
  std::string operation;  // "attention", "matmul"; empty for both
};

/// One candidate of a card for an architecture.
struct Job {
  const DeviceInfo* device;
  std::string text;
  std::function<LaunchShape(Runtime&)> prepare;
};

std::string describe(const DeviceInfo& device, const AttentionKernel& kernel, const AttentionConfig& c) {
  return fmt::format("{} {} {} d={}/{} mask={} {}x{} stages={} warps={}{}{}{}{}", device.architecture, kernel.name,
                     name_of(c.dtype), c.head_dim_qk, c.head_dim_v, static_cast<int>(c.mask), c.block_q, c.block_k,
                     c.stages, c.warps, c.has_lse ? " lse" : "", c.has_softcap ? " softcap" : "",
                     c.is_packed ? " packed" : "", c.is_split ? " split" : "");
}

std::string describe(const DeviceInfo& device, const MatmulKernel& kernel, const MatmulConfig& c) {
  constexpr const char* kOrders = "nts";
  return fmt::format("{} {} {}{}->{} {}{}{} {}x{}x{} stages={} warps={} cluster={}x{} splits={}{}{} align={}/{}/{} {}",
                     device.architecture, kernel.name, name_of(c.dtype),
                     c.math == Math::kFast              ? " fast"
                     : c.scale == ScaleKind::kPerTensor ? " scaled"
                     : c.scale == ScaleKind::kPerBlock  ? " block-scaled"
                                                        : "",
                     name_of(c.d_dtype), kOrders[static_cast<int>(c.a_order)], kOrders[static_cast<int>(c.b_order)],
                     kOrders[static_cast<int>(c.d_order)], c.block_m, c.block_n, c.block_k, c.stages, c.warps,
                     c.cluster_m, c.cluster_n, c.num_splits, c.has_c ? " c" : "",
                     c.bias != BiasKind::kNone ? " bias" : "", c.a_copy_bytes, c.b_copy_bytes, c.d_copy_bytes,
                     name_of(c.activation));
}

/// Candidates that are compiled: a tile's registers hardly depend on the dtype, so matrix products have all tiles for
/// bf16 without an epilogue, and the best of them elsewhere.
std::size_t count_of(const AttentionProblem&, std::size_t candidates) { return candidates; }
std::size_t count_of(const MatmulProblem& p, std::size_t candidates) {
  const bool is_e4m3 = p.dtype == DType::kE4M3;
  const MatrixOrder b_order = is_e4m3 ? MatrixOrder::kColumnMajor : MatrixOrder::kRowMajor;
  const bool is_b_any = p.math == Math::kFast;  // matmul_sm90 takes one order, matmul_sm80 the other
  const bool is_plain = (p.dtype == DType::kBF16 || p.math == Math::kFast || is_e4m3) &&
                        p.d_dtype == (is_e4m3 ? DType::kBF16 : p.dtype) && !p.has_bias &&
                        p.a_order == MatrixOrder::kRowMajor && (p.b_order == b_order || is_b_any) &&
                        p.d_order == MatrixOrder::kRowMajor;
  return is_plain ? candidates : std::min<std::size_t>(candidates, 1);
}

/// The candidates of every GPU card for these problems, each once.
template <typename Operation>
void add_jobs(std::vector<Job>& jobs, const std::vector<DeviceInfo>& devices,
              const std::vector<typename Operation::Problem>& problems, Cards<Operation> kernels) {
  for (const DeviceInfo& device : devices) {
    std::vector<std::pair<const Card<Operation>*, typename Operation::Config>> known;
    for (const auto& problem : problems) {
      for (const auto* kernel : kernels) {
        if (!kernel->supports(problem, device)) continue;
        auto configs = kernel->candidates(problem, device);
        configs.resize(count_of(problem, configs.size()));
        for (const auto& config : configs) {
          const std::pair entry = {kernel, config};
          if (std::find(known.begin(), known.end(), entry) != known.end()) continue;
          known.push_back(entry);
          jobs.push_back(
              {&device, describe(device, *kernel, config), [kernel, problem, &device, config](Runtime& runtime) {
                 return kernel->prepare(runtime, problem, device, config).launch;
               }});
        }
      }
    }
  }
}

std::vector<Job> all_jobs(const std::vector<DeviceInfo>& devices, const std::string& operation) {
  std::vector<Job> jobs;
  if (operation != "matmul") add_jobs<AttentionOperation>(jobs, devices, attention_catalogue(), attention_kernels());
  if (operation != "attention") add_jobs<MatmulOperation>(jobs, devices, matmul_catalogue(), matmul_kernels());
  return jobs;
}

/// Compiles one job; returns what is wrong with its plan, or nothing.
std::string run_job(Runtime& runtime, const Job& job) {
  try {
    const LaunchShape l = job.prepare(runtime);
    fmt::print("{}: {} threads, {} registers, {:.1f} KiB shared, {} blocks per SM, {:.1f} kB of code\n", job.text,
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
    fmt::print("FAILED {}: {}\n", jobs[i].text, wrong);
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
    if (name == "--operation") options.operation = value;
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
  const std::vector<Job> jobs = all_jobs(devices, options.operation);
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
