// SPDX-License-Identifier: Apache-2.0
#include "runtime.h"

#include "base/check.h"
#include "base/log.h"
#include "cpu/isa.h"
#include "cuda/architectures.h"
#include "fovea/version.h"

namespace fovea {
namespace {

Settings settings_of(const RuntimeOptions& options) {
  Settings s = read_settings();
  check(options.num_threads >= 0, ErrorCode::kInvalidArgument, "num_threads",
        "num_threads is {}, must be positive, or 0 for the default", options.num_threads);
  if (options.num_threads > 0) s.num_threads = options.num_threads;
  if (!options.cpu_isa.empty()) s.cpu_isa = options.cpu_isa;
  if (!options.cache_dir.empty()) s.cache_dir = options.cache_dir;
  if (!options.kernel_dir.empty()) s.kernel_dir = options.kernel_dir;
  return s;
}

int thread_count(const Settings& settings, const cpu::Processor& processor) {
  return settings.num_threads > 0 ? settings.num_threads : cpu::default_num_threads(processor);
}

}  // namespace

Runtime::Impl::Impl(const RuntimeOptions& options)
    : settings(settings_of(options)),
      processor(cpu::detect_processor()),
      cpu_isa(cpu::choose_unit(processor, settings.cpu_isa).name),
      pool(thread_count(settings, processor)),
      compiler(jit::compiler_options(settings)),
      tuning(settings.cache_dir.empty() ? std::string() : settings.cache_dir + "/tuning.json") {
  set_log_level(parse_log_level(settings.log_level));
  device_info({});  // refuses an unknown cpu_isa here, where it was given
}

DeviceInfo Runtime::Impl::device_info(Device device) {
  if (device.kind == DeviceKind::kCUDA) return devices.info(device.index);
  return cpu::device_info(processor, cpu_isa, pool.num_threads());
}

DeviceInfo Runtime::Impl::described_device(const std::string& architecture) {
  return architecture == "cpu" ? device_info({}) : cuda::require_architecture(architecture);
}

std::shared_ptr<const cuda::Kernel> Runtime::Impl::load(Device gpu, const jit::CompiledKernel& compiled,
                                                        int shared_bytes) {
  return kernels.find_or_load(devices.context(gpu.index), compiled.key, compiled.cubin, compiled.entry, shared_bytes);
}

Runtime::Runtime(const RuntimeOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Runtime::~Runtime() = default;

Runtime& default_runtime() {
  // Never destroyed: threads and GPU contexts must not be torn down while other static destructors still compute.
  static auto* const runtime = new Runtime();
  return *runtime;
}

const char* version() { return FOVEA_VERSION_STRING; }

}  // namespace fovea
