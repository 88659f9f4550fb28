// SPDX-License-Identifier: Apache-2.0
// From a call to a kernel: describe -> plan (cached) -> run.
#include "fovea/attention.h"

#include "attention/kernels.h"
#include "plan/choose.h"
#include "plan/explain.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "runtime.h"

namespace fovea {

void attention_forward(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options,
                       Stream stream) {
  const AttentionProblem problem = describe_attention(tensors, options);
  const AttentionKey key = {bucket_of(problem), options.tile, options.kernel};
  const auto plan = runtime.impl().attention_plans.find_or_prepare(key, [&] {
    return choose_plan<AttentionOperation>(attention_kernels(), runtime, key,
                                           runtime.impl().device_info(problem.device));
  });
  plan->kernel->run(runtime, *plan, problem, attention_args(tensors, options.layout, problem), stream);
}

void attention_forward(const AttentionTensors& tensors, const AttentionOptions& options, Stream stream) {
  attention_forward(default_runtime(), tensors, options, stream);
}

std::string attention_explain(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options,
                              bool json, const std::string& device_architecture) {
  AttentionProblem problem = describe_attention(tensors, options, /*require_data=*/false);
  DeviceInfo device;
  if (device_architecture.empty()) {
    device = runtime.impl().device_info(problem.device);
  } else {
    device = runtime.impl().described_device(device_architecture);
    problem.device = device.device;
  }
  const AttentionKey key = {bucket_of(problem), options.tile, options.kernel};
  const AttentionPlan plan = choose_plan<AttentionOperation>(attention_kernels(), runtime, key, device);
  return json ? explain_json(plan, problem, device) : explain_text(plan, problem, device);
}

}  // namespace fovea
