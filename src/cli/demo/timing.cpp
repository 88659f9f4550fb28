// SPDX-License-Identifier: Apache-2.0
#include "cli/demo/timing.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "cli/demo/memory.h"
#include "cli/demo/plain_attention.h"
#include "measure/statistics.h"
#include "measure/stopwatch.h"
#include "reference/attention.h"

namespace fovea::cli {
namespace {

double difference_from(const AttentionArgs& args, DType dtype, int head, const std::vector<float>& plain) {
  double largest = 0;
  for (Int64 row = 0; row < args.query.seqlen; ++row) {
    const Int64 o_at = row * args.output.stride_row + head * args.output.stride_head;
    for (Int64 c = 0; c < args.head_dim_v; ++c) {
      const double ours = load_element(args.output.o, dtype, o_at + c);
      largest = std::max(largest, std::fabs(ours - plain[static_cast<std::size_t>(row * args.head_dim_v + c)]));
    }
  }
  return largest;
}

}  // namespace

CallTiming time_call(Runtime& runtime, const AttentionTensors& tensors, const AttentionOptions& options) {
  const Repetitions about_a_second = {.warmups = 0, .least = 7, .least_seconds = 0, .most_seconds = 1.0};
  const Statistics seconds =
      summarize(time_calls([&] { attention_forward(runtime, tensors, options); }, about_a_second));
  return {seconds.median, seconds.count};
}

PlainTiming time_plain(const AttentionArgs& args, DType dtype, int num_threads, double budget_seconds) {
  PlainTiming timing;
  timing.num_heads = args.num_heads_q;
  timing.head_bytes = 4.0 * args.query.seqlen * args.kv.seqlen;
  timing.scores_bytes = timing.head_bytes * args.num_heads_q;
  const int at_once = std::min(num_threads, args.num_heads_q);
  if (timing.head_bytes * at_once > 0.5 * static_cast<double>(available_memory_bytes().value_or(INT64_MAX))) {
    return timing;
  }
  std::vector<PlainScratch> scratch(static_cast<std::size_t>(at_once));
  double spent = 0;
  while (timing.heads_run < args.num_heads_q && spent < budget_seconds) {
    const int first = timing.heads_run;
    const int past = std::min(first + at_once, args.num_heads_q);
    const double start = now_seconds();
    std::vector<std::thread> threads;
    for (int h = first; h < past; ++h) {
      threads.emplace_back(
          [&, h] { plain_attention_head(args, dtype, 0, h, scratch[static_cast<std::size_t>(h - first)]); });
    }
    for (std::thread& thread : threads) thread.join();
    // The first round also pays for the pages of its memory, as a framework does on every call.
    spent += now_seconds() - start;
    for (int h = first; h < past; ++h) {
      const auto i = static_cast<std::size_t>(h - first);
      timing.max_difference = std::max(timing.max_difference, difference_from(args, dtype, h, scratch[i].output));
    }
    timing.heads_run = past;
  }
  timing.ran = true;
  timing.seconds = spent * args.num_heads_q / timing.heads_run;
  return timing;
}

}  // namespace fovea::cli
