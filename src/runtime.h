// SPDX-License-Identifier: Apache-2.0
// Inside of the runtime: the one owner of what lasts longer than a call.
#pragma once

#include <memory>
#include <string>

#include "base/device_info.h"
#include "base/settings.h"
#include "cpu/processor.h"
#include "cpu/thread_pool.h"
#include "cuda/devices.h"
#include "cuda/memory.h"
#include "cuda/module.h"
#include "fovea/runtime.h"
#include "jit/compiler.h"
#include "plan/attention_plan.h"
#include "plan/matmul_plan.h"
#include "plan/plan_cache.h"
#include "plan/tuning_table.h"

namespace fovea {

struct Runtime::Impl {
  explicit Impl(const RuntimeOptions& options);

  /// The device that a problem names. Throws kCuda or kInvalidArgument if it is not there.
  DeviceInfo device_info(Device device);
  /// A device to plan for that need not be there: "cpu" or an architecture of the table ("sm_89").
  DeviceInfo described_device(const std::string& architecture);
  /// On a GPU that is there. Shared with every other plan that runs the same code.
  std::shared_ptr<const cuda::Kernel> load(Device gpu, const jit::CompiledKernel& compiled, int shared_bytes);

  Settings settings;  // the environment, with RuntimeOptions put over it
  cpu::Processor processor;
  std::string cpu_isa;  // the unit that CPU kernels are chosen from: settings.cpu_isa, or the best for this processor
  cpu::ThreadPool pool;
  // Nothing of these is touched before a call on a GPU. Plans hold loaded kernels, so the devices outlive them.
  cuda::Devices devices;
  cuda::KernelTable kernels;
  cuda::WorkspacePool workspaces;
  cuda::WorkspacePool counters{/*zeroed=*/true};
  jit::Compiler compiler;
  TuningTable tuning;
  PlanCache<AttentionOperation> attention_plans;
  PlanCache<MatmulOperation> matmul_plans;
};

}  // namespace fovea
