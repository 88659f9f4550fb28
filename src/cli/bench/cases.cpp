// SPDX-License-Identifier: Apache-2.0
#include "cli/bench/cases.h"

namespace fovea::cli {
namespace {

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

CallShape square(DType dtype, int seqlen, int head_dim) {
  return {.dtype = dtype,
          .seqlen_q = seqlen,
          .seqlen_k = seqlen,
          .num_heads_q = 16,
          .num_heads_kv = 16,
          .head_dim_qk = head_dim,
          .head_dim_v = head_dim};
}

CallShape one_query(DType dtype, int seqlen_k) {
  return {.dtype = dtype,
          .seqlen_q = 1,
          .seqlen_k = seqlen_k,
          .num_heads_q = 32,
          .num_heads_kv = 8,
          .head_dim_qk = 128,
          .head_dim_v = 128};
}

}  // namespace

std::vector<BenchCase> default_bench_cases(bool quick) {
  const std::vector<int> head_dims = quick ? std::vector{128} : std::vector{64, 128};
  const std::vector<int> seqlens = quick ? std::vector{1024} : std::vector{512, 1024, 2048, 4096};
  const std::vector<int> caches = quick ? std::vector{4096} : std::vector{4096, 16384};
  std::vector<BenchCase> cases;
  for (DType dtype : kDTypes) {
    for (int head_dim : head_dims) {
      for (int seqlen : seqlens) {
        for (bool causal : {false, true}) cases.push_back({square(dtype, seqlen, head_dim), {.causal = causal}});
      }
    }
  }
  for (DType dtype : kDTypes) {
    for (int seqlen_k : caches) cases.push_back({one_query(dtype, seqlen_k), {}});
  }
  return cases;
}

bool is_decode(const CallShape& shape) { return shape.seqlen_q == 1; }

}  // namespace fovea::cli
