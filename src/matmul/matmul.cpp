// SPDX-License-Identifier: Apache-2.0
// From a call to a kernel: describe -> plan (cached) -> run.
#include "fovea/matmul.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "matmul/kernels.h"
#include "matmul/recent_calls.h"
#include "plan/choose.h"
#include "plan/explain_matmul.h"
#include "problem/describe_matmul.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr const char* kOperation = "matmul";

/// The candidate that the tuning table names.
TunedChoice<MatmulOperation> tuned_choice(Runtime& runtime, const MatmulProblem& bucket, const DeviceInfo& device) {
  return [&runtime, &bucket, &device](std::string_view kernel, const std::vector<MatmulConfig>& candidates) {
    const auto entry = runtime.impl().tuning.find(kOperation, tuning_key(device), tuning_text(bucket));
    if (!entry || entry->kernel != kernel) return -1;
    const MatmulTile tile = tile_from(entry->tile);
    const auto found =
        std::find_if(candidates.begin(), candidates.end(), [&](const MatmulConfig& c) { return tile_of(c) == tile; });
    return found == candidates.end() ? -1 : static_cast<int>(found - candidates.begin());
  };
}

MatmulPlan plan_of(Runtime& runtime, const MatmulKey& key, const DeviceInfo& device) {
  return choose_plan<MatmulOperation>(matmul_kernels(), runtime, key, device,
                                      tuned_choice(runtime, key.bucket, device));
}

/// The card that runs a call, and what it offers.
struct Offer {
  MatmulProblem bucket;
  DeviceInfo device;
  const MatmulKernel* kernel;
  std::vector<MatmulTile> tiles;
};

Offer offer_of(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options) {
  Offer offer;
  offer.bucket = bucket_of(describe_matmul(tensors, options, /*require_data=*/false).problem);
  offer.device = runtime.impl().device_info(offer.bucket.device);
  std::vector<Refusal> refused;
  offer.kernel =
      &choose_card<MatmulOperation>(matmul_kernels(), {offer.bucket, {}, options.kernel}, offer.device, &refused);
  for (const MatmulConfig& c : offer.kernel->candidates(offer.bucket, offer.device)) offer.tiles.push_back(tile_of(c));
  return offer;
}

}  // namespace

void matmul(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options, Stream stream) {
  PlanCache<MatmulOperation>& plans = runtime.impl().matmul_plans;
  // On a GPU the host runs ahead, and a plan must not outlive the runtime, whose devices hold its code.
  const bool is_brief = tensors.a.device.kind == DeviceKind::kCPU;
  const std::uint64_t stamp = plans.stamp();
  if (is_brief) {
    if (RecentMatmul& recent = recent_matmul(tensors); recent.takes(tensors, options, stamp)) {
      const MatmulCall& call = recent.call();
      return recent.plan().kernel->run(runtime, recent.plan(), call.problem, call.args, stream);
    }
  }
  const MatmulCall call = describe_matmul(tensors, options);
  const MatmulKey key = {bucket_of(call.problem), options.tile, options.kernel};
  const auto plan = plans.find_or_prepare(
      key, [&] { return plan_of(runtime, key, runtime.impl().device_info(call.problem.device)); });
  plan->kernel->run(runtime, *plan, call.problem, call.args, stream);
  if (is_brief && options.kernel.empty()) recent_matmul(tensors).remember(tensors, options, call, plan, stamp);
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
  return offer_of(runtime, tensors, options).tiles;
}

void matmul_remember(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options,
                     const MatmulTile& tile) {
  const Offer offer = offer_of(runtime, tensors, options);
  check(std::find(offer.tiles.begin(), offer.tiles.end(), tile) != offer.tiles.end(), ErrorCode::kInvalidArgument,
        "tile", "tile {} x {} x {} is none of the candidates of {} for {}; take one that matmul_candidates gives",
        tile.block_m, tile.block_n, tile.block_k, offer.kernel->name, to_string(offer.bucket));
  runtime.impl().tuning.store(kOperation, tuning_key(offer.device), tuning_text(offer.bucket),
                              {std::string(offer.kernel->name), numbers_of(tile)});
  runtime.impl().matmul_plans.clear();
}

}  // namespace fovea
