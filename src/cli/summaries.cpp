// SPDX-License-Identifier: Apache-2.0
#include "cli/summaries.h"

#include <nlohmann/json.hpp>

namespace fovea::cli {

PlanSummary plan_summary(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options) {
  const nlohmann::json plan = nlohmann::json::parse(attention_explain(runtime, tensors, options, /*json=*/true));
  PlanSummary summary;
  summary.kernel = plan.value("kernel", "");
  summary.detail = plan.value("detail", "");
  const nlohmann::json none = nlohmann::json::object();
  const nlohmann::json& config = plan.contains("config") ? plan["config"] : none;
  summary.block_q = config.value("block_q", 0);
  summary.block_k = config.value("block_k", 0);
  const nlohmann::json& tiles = plan.contains("tiles") ? plan["tiles"] : none;
  summary.tiles_full = tiles.value("full", std::int64_t{0});
  summary.tiles_edge = tiles.value("edge", std::int64_t{0});
  summary.tiles_skipped = tiles.value("skipped", std::int64_t{0});
  summary.flops = plan.value("flops", 0.0);
  return summary;
}

MachineSummary machine_summary(Runtime& runtime) {
  MachineSummary summary;
  summary.info_json = runtime.info(/*json=*/true);
  const nlohmann::json info = nlohmann::json::parse(summary.info_json);
  if (info.contains("processor")) summary.processor = info["processor"].value("model_name", "");
  summary.num_threads = info.value("threads", 1);
  return summary;
}

}  // namespace fovea::cli
