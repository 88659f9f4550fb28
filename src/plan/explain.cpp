// SPDX-License-Identifier: Apache-2.0
#include "plan/explain.h"

#include <algorithm>

#include "contract/dtype.h"
#include "plan/explain_parts.h"

namespace fovea {
namespace {

std::string tile_text(const AttentionConfig& c) {
  std::string text = fmt::format("{} rows x {} keys", c.block_q, c.block_k);
  if (c.stages > 0) text += fmt::format(", {} stages", c.stages);
  if (c.warps > 0) text += fmt::format(", {} warps", c.warps);
  return text;
}

double share(long long part, const TileCounts& t) {
  const auto all = static_cast<double>(t.full + t.edge + t.skipped);
  return all > 0 ? 100.0 * static_cast<double>(part) / all : 0.0;
}

/// Rows of one head that skip keys together: those of the tile inside a task, where a card has one.
int rows_of_tile(const AttentionPlan& plan, const AttentionProblem& p) {
  if (plan.tile_rows == 0) return plan.config.block_q;
  const int heads_per_kv = p.num_heads_kv > 0 ? p.num_heads_q / p.num_heads_kv : 1;
  return std::max(1, std::min(plan.tile_rows, plan.config.block_q) / std::max(1, heads_per_kv));
}

}  // namespace

TileCounts count_tiles(const AttentionProblem& p, int block_q, int block_k) {
  TileCounts t;
  if (block_q <= 0 || block_k <= 0 || p.seqlen_q == 0 || p.seqlen_k == 0) return t;
  const SequenceMask mask = sequence_mask(p.mask, p.seqlen_q, p.seqlen_k);
  const long long columns = (static_cast<long long>(p.seqlen_k) + block_k - 1) / block_k;
  for (long long q = 0; q < p.seqlen_q; q += block_q) {
    const int first = static_cast<int>(q);
    const int past = static_cast<int>(std::min<long long>(q + block_q, p.seqlen_q));
    const KeyInterval any = tile_keys(p.mask.kind, mask, first, past);
    const KeyInterval full = tile_full_keys(p.mask.kind, mask, first, past);
    if (any.empty()) {
      t.skipped += columns;
      continue;
    }
    const long long touched = (any.end - 1) / block_k - any.begin / block_k + 1;
    // A block is full when all its keys that exist are inside; the last block may be cut by the sequence's end.
    const long long full_first = (std::max(full.begin, 0) + static_cast<long long>(block_k) - 1) / block_k;
    const long long full_past = full.end >= p.seqlen_k ? columns : std::max(full.end, 0) / block_k;
    const long long inside = std::max<long long>(0, full_past - full_first);
    t.full += inside;
    t.edge += touched - inside;
    t.skipped += columns - touched;
  }
  return t;
}

std::string explain_text(const AttentionPlan& plan, const AttentionProblem& problem, const DeviceInfo& device) {
  std::string text = choice_text(plan, to_string(problem), device);
  text += fmt::format("tile     {} ({})\n", tile_text(plan.config), plan.choice);
  const int rows = rows_of_tile(plan, problem);
  const TileCounts t = count_tiles(problem, rows, plan.config.block_k);
  text += fmt::format("mask     {} tiles full ({:.1f} %), {} edge ({:.1f} %), {} skipped ({:.1f} %) per head", t.full,
                      share(t.full, t), t.edge, share(t.edge, t), t.skipped, share(t.skipped, t));
  text += rows == plan.config.block_q ? "\n" : fmt::format(", of {} rows x {} keys\n", rows, plan.config.block_k);
  text += fmt::format("work     {:.3g} GFLOP on visible scores\n", attention_flops(problem) / 1e9);
  return text + launch_text(plan.launch);
}

std::string explain_json(const AttentionPlan& plan, const AttentionProblem& problem, const DeviceInfo& device) {
  const int rows = rows_of_tile(plan, problem);
  const TileCounts t = count_tiles(problem, rows, plan.config.block_k);
  nlohmann::ordered_json j = choice_json(plan, to_string(problem), device);
  const AttentionConfig& c = plan.config;
  j["config"] = {{"dtype", name_of(c.dtype)}, {"block_q", c.block_q}, {"block_k", c.block_k},
                 {"stages", c.stages},        {"warps", c.warps},     {"head_dim_qk", c.head_dim_qk},
                 {"head_dim_v", c.head_dim_v}};
  j["tiles"] = {{"rows", rows}, {"full", t.full}, {"edge", t.edge}, {"skipped", t.skipped}};
  j["flops"] = attention_flops(problem);
  add_launch_json(j, plan.launch);
  return j.dump(2);
}

}  // namespace fovea
