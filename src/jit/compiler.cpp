// SPDX-License-Identifier: Apache-2.0
#include "jit/compiler.h"

#include <dlfcn.h>

#include <charconv>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/log.h"
#include "base/sha256.h"
#include "fovea/version.h"
#include "jit/nvrtc_stamp.h"
#include "jit/progress.h"

namespace fovea::jit {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<const char*, int Resources::*> kResourceNames[] = {
    {"registers", &Resources::registers_per_thread},
    {"static_shared", &Resources::static_shared_bytes},
    {"stack", &Resources::stack_bytes},
    {"spill_stores", &Resources::spill_store_bytes},
    {"spill_loads", &Resources::spill_load_bytes}};

/// Line tables, for profilers, triple the code's size: they are for those who read kernels from a folder of theirs.
std::vector<std::string> options_for(const std::string& architecture, bool with_lines) {
  // Shared headers are written for the host too: what they do not mark is for the device here.
  std::vector<std::string> options = {"--gpu-architecture=" + architecture, "--std=c++20",
                                      "--device-as-default-execution-space", "--ptxas-options=-v"};
  if (with_lines) options.emplace_back("-lineinfo");
  return options;
}

Metadata metadata_of(const CompiledKernel& k) {
  Metadata m = {{"entry", k.entry}, {"architecture", k.architecture}, {"config", k.config},
                {"nvrtc", k.nvrtc}, {"remarks", k.remarks},           {"fovea", FOVEA_VERSION_STRING}};
  for (const auto& [name, field] : kResourceNames) m[name] = std::to_string(k.resources.*field);
  return m;
}

/// Nothing if the entry lacks a number: it was written by another version.
std::shared_ptr<CompiledKernel> from_entry(CacheEntry entry) {
  auto k = std::make_shared<CompiledKernel>();
  for (const auto& [name, field] : kResourceNames) {
    const std::string& text = entry.metadata[name];
    if (std::from_chars(text.data(), text.data() + text.size(), k->resources.*field).ec != std::errc()) return nullptr;
  }
  k->nvrtc = entry.metadata["nvrtc"];
  k->remarks = entry.metadata["remarks"];
  k->cubin = std::move(entry.payload);
  return k;
}

/// A folder for a person to look into: beside the cache, or the system's temporary one.
std::string keep_source(const std::string& cache_dir, const std::string& name, const std::string& text) {
  std::error_code error;
  for (const fs::path& root : {fs::path(cache_dir), fs::temp_directory_path(error) / "fovea"}) {
    if (root.empty()) continue;
    const fs::path folder = root / "failed" / name;
    fs::create_directories(folder, error);
    std::ofstream file(folder / "kernel.cu");
    file << text;
    if (file.flush()) return (folder / "kernel.cu").string();
  }
  return "(nowhere: no folder could be written)";
}

}  // namespace

struct Compiler::Request {
  const Unit& unit;
  const std::string& architecture;
  std::string source;
  std::vector<std::string_view> headers;
  std::string key;  // without the compiler's version
};

CompilerOptions compiler_options(const Settings& settings) {
  CompilerOptions options = {settings.kernel_dir, settings.cache_dir, settings.prebuilt_dir, {}};
  options.nvrtc = {settings.nvrtc_library, settings.cuda_home, python_prefixes(settings.virtual_env, settings.path)};
  return options;
}

const Nvrtc& Compiler::nvrtc() {
  std::call_once(nvrtc_opened_, [this] { nvrtc_ = Nvrtc::open(options_.nvrtc); });
  return nvrtc_;
}

const Texts& Compiler::texts() {
  std::call_once(texts_loaded_, [this] { texts_ = load_texts(options_.kernel_dir); });
  return texts_;
}

std::string Compiler::cache_folder() const { return options_.cache_dir.empty() ? "" : options_.cache_dir + "/kernels"; }

std::string Compiler::prebuilt_folder() const {
  if (!options_.prebuilt_dir.empty()) return options_.prebuilt_dir;
  Dl_info info = {};
  if (dladdr(reinterpret_cast<const void*>(&load_texts), &info) == 0 || !info.dli_fname) return {};
  const fs::path beside = fs::path(info.dli_fname).parent_path() / "fovea-kernels";
  std::error_code error;
  return fs::is_directory(beside, error) ? beside.string() : "";
}

std::shared_ptr<const CompiledKernel> Compiler::compile(const Unit& unit, const std::string& architecture) {
  Request request = {unit, architecture, unit.source(), {}, {}};
  request.headers = included_texts(texts(), request.source);
  Sha256 hash;
  hash.add_field("fovea kernel 1").add_field(unit.entry).add_field(request.source);
  for (const std::string& option : options_for(architecture, !options_.kernel_dir.empty())) hash.add_field(option);
  for (std::string_view name : request.headers) hash.add_field(name).add_field(texts().find(name)->second);
  request.key = to_hex(hash.digest());

  std::promise<std::shared_ptr<const CompiledKernel>> promise;
  {
    std::unique_lock lock(mutex_);
    if (const auto found = results_.find(request.key); found != results_.end()) {
      const Result result = found->second;
      lock.unlock();
      return result.get();  // waits if another thread is at it; throws what that one threw
    }
    results_.emplace(request.key, promise.get_future().share());
  }
  try {
    std::shared_ptr<const CompiledKernel> kernel = find_or_compile(request);
    promise.set_value(kernel);
    return kernel;
  } catch (...) {
    promise.set_exception(std::current_exception());
    const std::lock_guard lock(mutex_);
    results_.erase(request.key);  // the next call tries again: NVRTC may have been installed
    throw;
  }
}

std::shared_ptr<const CompiledKernel> Compiler::find_or_compile(const Request& request) {
  const auto finish = [&](std::shared_ptr<CompiledKernel> k, Origin origin) {
    k->entry = request.unit.entry;
    k->architecture = request.architecture;
    k->config = request.unit.config;
    k->key = request.key;
    k->origin = origin;
    export_.store(request.key, metadata_of(*k), k->cubin);
    return k;
  };
  if (auto entry = DiskCache(prebuilt_folder(), true).load(request.key)) {
    if (auto k = from_entry(std::move(*entry))) return finish(std::move(k), Origin::kPrebuilt);
  }
  const DiskCache cache(cache_folder());
  const auto key_with = [&](const std::string& version) {
    return to_hex(Sha256().add_field(request.key).add_field("nvrtc " + version).digest());
  };
  if (const std::string version = nvrtc_version(); !version.empty()) {
    if (auto entry = cache.load(key_with(version))) {
      if (auto k = from_entry(std::move(*entry))) return finish(std::move(k), Origin::kDisk);
    }
  }
  std::shared_ptr<CompiledKernel> k = finish(run_nvrtc(request), Origin::kCompiled);
  cache.store(key_with(k->nvrtc), metadata_of(*k), k->cubin);
  write_nvrtc_stamp(options_.cache_dir, options_.nvrtc, nvrtc());
  return k;
}

std::string Compiler::nvrtc_version() {
  if (auto known = read_nvrtc_stamp(options_.cache_dir, options_.nvrtc)) return *known;
  return nvrtc().present() ? nvrtc().version() : "";
}

std::shared_ptr<CompiledKernel> Compiler::run_nvrtc(const Request& request) {
  const std::string what = fmt::format("{} for {}", request.unit.entry, request.architecture);
  check(nvrtc().present(), ErrorCode::kCompile, "",
        "{} is not compiled yet: {}; or use kernels compiled ahead (fovea prebuild, FOVEA_PREBUILT)", what,
        nvrtc().absence());
  check(nvrtc().supports(request.architecture), ErrorCode::kCompile, "",
        "NVRTC {} ({}) is older than the GPU: it compiles for {} and not for {}; install a newer one (pip install -U "
        "nvidia-cuda-nvrtc), or name "
        "it in FOVEA_NVRTC",
        nvrtc().version(), nvrtc().library(), nvrtc().supported_architectures(), request.architecture);
  CompileInput input = {
      request.source, "kernel.cu", {}, options_for(request.architecture, !options_.kernel_dir.empty())};
  for (std::string_view name : request.headers) input.headers.emplace_back(name, texts().find(name)->second);
  if (std::pair(nvrtc().major(), nvrtc().minor()) >= std::pair(12, 9))
    input.options.push_back("--no-cache");  // NVRTC's own, beside ours
  const auto begin = std::chrono::steady_clock::now();
  CompileOutput output;
  {
    const ProgressLine progress("compiling " + what);
    output = nvrtc().compile(input);
  }
  auto k = std::make_shared<CompiledKernel>();
  k->compile_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (!output.ok) {
    const std::string kept = keep_source(
        options_.cache_dir,
        fmt::format("{}-{}-{}", request.unit.entry, request.architecture, request.key.substr(0, 12)),
        fmt::format("// nvrtc {} {}\n{}", nvrtc().version(), fmt::join(input.options, " "), request.source));
    fail(ErrorCode::kCompile, "", "{} does not compile with NVRTC {}; source kept in {}; log:\n{}", what,
         nvrtc().version(), kept, output.log);
  }
  k->cubin = std::move(output.cubin);
  k->resources = parse_resources(output.log, request.unit.entry);
  k->remarks = fmt::format("{}", fmt::join(pipeline_remarks(output.log), "; "));
  k->nvrtc = nvrtc().version();
  k->log = std::move(output.log);
  log(LogLevel::kInfo, "compiled {} in {:.0f} ms: {} registers, {} bytes of code", what, k->compile_ms,
      k->resources.registers_per_thread, k->cubin.size());
  return k;
}

std::vector<std::shared_ptr<const CompiledKernel>> Compiler::compiled() const {
  std::vector<std::shared_ptr<const CompiledKernel>> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, result] : results_) {
    if (result.wait_for(std::chrono::seconds(0)) == std::future_status::ready) all.push_back(result.get());
  }
  return all;
}

}  // namespace fovea::jit
