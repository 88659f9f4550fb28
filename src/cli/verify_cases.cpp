// SPDX-License-Identifier: Apache-2.0
#include "cli/verify_cases.h"

#include <algorithm>
#include <iterator>

namespace fovea::cli {
namespace {

CallShape shape(int batch, int seqlen_q, int seqlen_k, int num_heads_q, int num_heads_kv, int head_dim_qk,
                int head_dim_v) {
  return {.batch = batch,
          .seqlen_q = seqlen_q,
          .seqlen_k = seqlen_k,
          .num_heads_q = num_heads_q,
          .num_heads_kv = num_heads_kv,
          .head_dim_qk = head_dim_qk,
          .head_dim_v = head_dim_v,
          .wants_lse = true};
}

AttentionOptions causal() { return {.causal = true}; }
AttentionOptions window(int left, int right) { return {.window_left = left, .window_right = right}; }

std::vector<VerifyCase> cases_of_one_dtype() {
  const CallShape prefill = shape(1, 300, 300, 4, 2, 128, 128);
  return {
      {"full", shape(2, 200, 200, 2, 2, 64, 64), {}},
      {"causal, grouped heads", prefill, causal()},
      {"causal, more keys than queries", shape(1, 70, 333, 2, 1, 64, 64), causal()},
      {"causal, rows that see nothing", shape(1, 201, 77, 2, 2, 64, 64), causal()},
      {"causal, top-left", shape(1, 150, 260, 2, 1, 64, 64), {.causal = true, .alignment = MaskAlignment::kTopLeft}},
      {"window", shape(1, 400, 400, 2, 2, 64, 64), window(50, 20)},
      {"causal window", shape(1, 400, 400, 2, 2, 64, 64), {.causal = true, .window_left = 100}},
      {"one query", shape(2, 1, 1500, 8, 2, 128, 128), {}},
      {"one query, one head", shape(1, 1, 3000, 1, 1, 64, 64), {}},
      {"one key", shape(1, 33, 1, 2, 2, 64, 64), {}},
      {"no keys", shape(1, 5, 0, 2, 2, 64, 64), {}},
      {"odd head_dim", shape(1, 130, 130, 2, 2, 75, 75), causal()},
      {"head_dim 1", shape(1, 64, 64, 1, 1, 1, 1), {}},
      {"head_dim 192 / 128", shape(1, 130, 130, 2, 2, 192, 128), causal()},
      {"head_dim 512", shape(1, 65, 130, 1, 1, 512, 512), {}},
      {"softcap", prefill, {.causal = true, .softcap = 5.0f}},
      {"scale", prefill, {.softmax_scale = 0.5f}},
      {"bhsd", shape(2, 130, 130, 3, 1, 64, 64), {.layout = Layout::kBHSD, .causal = true}},
      {"packed", shape(3, 90, 90, 2, 1, 64, 64), {.layout = Layout::kTHD, .causal = true}},
      {"large scores", prefill, causal(), InputKind::kLargeScores},
      {"equal scores", prefill, causal(), InputKind::kEqualScores},
      {"rising scores", prefill, {}, InputKind::kRisingScores},
      {"rising scores, one query", shape(1, 1, 1500, 8, 2, 128, 128), {}, InputKind::kRisingScores},
  };
}

}  // namespace

bool is_input_kind(std::string_view word) {
  return !word.empty() && std::any_of(std::begin(kAllInputKinds), std::end(kAllInputKinds), [word](InputKind kind) {
    const std::string_view name = name_of(kind);
    return name.substr(0, name.find(' ')) == word;
  });
}

std::vector<VerifyCase> default_verify_cases() {
  std::vector<VerifyCase> cases;
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (VerifyCase c : cases_of_one_dtype()) {
      c.shape.dtype = dtype;
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

}  // namespace fovea::cli
