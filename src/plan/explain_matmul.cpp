// SPDX-License-Identifier: Apache-2.0
#include "plan/explain_matmul.h"

#include "contract/dtype.h"
#include "plan/explain_parts.h"

namespace fovea {
namespace {

std::string tile_text(const MatmulConfig& c) {
  std::string text = fmt::format("{} x {} x {}", c.block_m, c.block_n, c.block_k);
  if (c.stages > 0) text += fmt::format(", {} stages", c.stages);
  if (c.warps > 0) text += fmt::format(", {} warps", c.warps);
  if (c.cluster_m * c.cluster_n > 1) text += fmt::format(", cluster {} x {}", c.cluster_m, c.cluster_n);
  if (c.num_splits > 1) text += fmt::format(", k in {} parts", c.num_splits);
  if (c.is_persistent) text += ", persistent";
  if (c.packs_a || c.packs_b)
    text += fmt::format(", {}{} packed", c.packs_a ? "a" : "b", c.packs_a && c.packs_b ? " and b" : "");
  return text;
}

}  // namespace

std::string explain_text(const MatmulPlan& plan, const MatmulProblem& problem, const DeviceInfo& device) {
  std::string text = choice_text(plan, to_string(problem), device);
  text += fmt::format("tile     {} ({})\n", tile_text(plan.config), plan.choice);
  const double flops = matmul_flops(problem), bytes = matmul_bytes(problem);
  text += fmt::format("work     {:.3g} GFLOP on {:.3g} MB, {:.3g} FLOP per byte\n", flops / 1e9, bytes / 1e6,
                      bytes > 0 ? flops / bytes : 0.0);
  return text + launch_text(plan.launch);
}

std::string explain_json(const MatmulPlan& plan, const MatmulProblem& problem, const DeviceInfo& device) {
  nlohmann::ordered_json j = choice_json(plan, to_string(problem), device);
  const MatmulConfig& c = plan.config;
  j["config"] = {{"dtype", name_of(c.dtype)},     {"block_m", c.block_m},     {"block_n", c.block_n},
                 {"block_k", c.block_k},          {"stages", c.stages},       {"warps", c.warps},
                 {"cluster_m", c.cluster_m},      {"cluster_n", c.cluster_n}, {"num_splits", c.num_splits},
                 {"persistent", c.is_persistent}, {"packs_a", c.packs_a},     {"packs_b", c.packs_b}};
  j["flops"] = matmul_flops(problem);
  j["bytes"] = matmul_bytes(problem);
  add_launch_json(j, plan.launch);
  return j.dump(2);
}

}  // namespace fovea
