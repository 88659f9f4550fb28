// SPDX-License-Identifier: Apache-2.0
// From a call to a kernel: describe -> plan (cached) -> run.
#include "fovea/matmul.h"

#include <algorithm>

#include "base/check.h"
#include "matmul/kernels.h"
#include "plan/choose.h"
#include "plan/explain_matmul.h"
#include "problem/describe_matmul.h"
#include "runtime.h"

namespace fovea {
namespace {

MatmulPlan plan_of(Runtime& runtime, const MatmulKey& key, const DeviceInfo& device) {
  return choose_plan<MatmulOperation>(matmul_kernels(), runtime, key, device);
}

}  // namespace

void matmul(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options, Stream stream) {
  const MatmulCall call = describe_matmul(tensors, options);
  const MatmulKey key = {bucket_of(call.problem), options.tile, options.kernel};
  const auto plan = runtime.impl().matmul_plans.find_or_prepare(
      key, [&] { return plan_of(runtime, key, runtime.impl().device_info(call.problem.device)); });
  plan->kernel->run(runtime, *plan, call.problem, call.args, stream);
}

void matmul(const MatmulTensors& tensors, const MatmulOptions& options, Stream stream) {
  matmul(default_runtime(), tensors, options, stream);
}

std::string matmul_explain(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options, bool json,
                           const std::string& device_architecture) {
  MatmulProblem problem = describe_matmul(tensors, options, /*require_data=*/false).problem;
  DeviceInfo device;
  if (device_architecture.empty()) {
    device = runtime.impl().device_info(problem.device);
  } else {
    device = runtime.impl().described_device(device_architecture);
    problem.device = device.device;
  }
  const MatmulPlan plan = plan_of(runtime, {bucket_of(problem), options.tile, options.kernel}, device);
  return json ? explain_json(plan, problem, device) : explain_text(plan, problem, device);
}

std::vector<MatmulTile> matmul_candidates(Runtime& runtime, const MatmulTensors& tensors,
                                          const MatmulOptions& options) {
  const MatmulProblem problem = describe_matmul(tensors, options, /*require_data=*/false).problem;
  const DeviceInfo device = runtime.impl().device_info(problem.device);
  const MatmulKey key = {bucket_of(problem), {}, options.kernel};
  std::vector<Refusal> refused;
  const MatmulKernel& kernel = choose_card<MatmulOperation>(matmul_kernels(), key, device, &refused);
  std::vector<MatmulTile> tiles;
  for (const MatmulConfig& config : kernel.candidates(key.bucket, device)) tiles.push_back(tile_of(config));
  return tiles;
}

}  // namespace fovea
