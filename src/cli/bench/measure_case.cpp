// SPDX-License-Identifier: Apache-2.0
#include "cli/bench/measure_case.h"

#include <time.h>

#include <nlohmann/json.hpp>

#include <array>
#include <functional>

#include "cli/random_inputs.h"
#include "contract/dtype.h"
#include "cpu/isa.h"
#include "cpu/peak.h"
#include "problem/attention_problem.h"
#include "problem/describe.h"

namespace fovea::cli {
namespace {

/// Bytes of k and v: what a call of one query has to read.
double key_value_bytes(const CallShape& s) {
  return static_cast<double>(s.batch) * s.seqlen_k * s.num_heads_kv * (s.head_dim_qk + s.head_dim_v) *
         size_bytes(s.dtype);
}

/// Of all threads of this process.
double cpu_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

BenchRow measure_case(const BenchSetting& setting, const BenchCase& bench_case, std::uint64_t seed) {
  AttentionOptions options = bench_case.options;
  fill_in_lengths(bench_case.shape, options);
  CallData data(bench_case.shape, options.layout);
  data.fill(InputKind::kNormal, seed);
  const AttentionProblem problem = describe_attention(data.tensors(), options);
  BenchRow row{.problem = to_string(problem),
               .plan = plan_summary(setting.runtime, data.tensors(), options),
               .shape = bench_case.shape,
               .causal = options.causal,
               .is_bandwidth = is_decode(bench_case.shape)};

  const cpu::Unit& unit = cpu::unit_for(setting.isa, bench_case.shape.dtype);
  row.peak_isa = unit.name;
  std::function<double()> read_peak;
  if (row.is_bandwidth) {
    row.work = key_value_bytes(bench_case.shape);
    row.peak_of = "memory reads";
    // The same k and v: another buffer would lie on other pages and push them out of the caches.
    const std::int64_t k_bytes = extent_bytes(data.tensors().k), v_bytes = extent_bytes(data.tensors().v);
    const std::array<cpu::MemorySpan, 2> spans = {{{data.tensors().k.data, k_bytes}, {data.tensors().v.data, v_bytes}}};
    read_peak = [&setting, &unit, spans] {
      return cpu::measure_read_bandwidth(setting.pool, cpu::peaks_of(unit.name), spans);
    };
  } else {
    const cpu::FlopLoop& loop = cpu::flop_loop(unit.name, bench_case.shape.dtype);
    row.work = attention_flops(problem);
    row.peak_of = loop.instruction;
    read_peak = [&setting, &loop] { return cpu::measure_flops(setting.pool, loop); };
  }
  const double wall_before = now_seconds(), cpu_before = cpu_seconds();
  const PairedMeasurement measured = time_calls_beside_peak(
      [&] { attention_forward(setting.runtime, data.tensors(), options); }, row.work, read_peak, setting.repetitions);
  row.cpu_share = (cpu_seconds() - cpu_before) / (now_seconds() - wall_before) / setting.pool.num_threads();
  row.seconds = summarize(measured.seconds);
  row.fraction = summarize(measured.fractions);
  row.peak = summarize(measured.peaks).median;
  return row;
}

nlohmann::ordered_json json_of(const BenchRow& row) {
  const CallShape& s = row.shape;
  const double rate = row.seconds.median > 0 ? row.work / row.seconds.median : 0.0;
  return {{"problem", row.problem},
          {"dtype", name_of(s.dtype)},
          {"batch", s.batch},
          {"seqlen_q", s.seqlen_q},
          {"seqlen_k", s.seqlen_k},
          {"num_heads_q", s.num_heads_q},
          {"num_heads_kv", s.num_heads_kv},
          {"head_dim_qk", s.head_dim_qk},
          {"head_dim_v", s.head_dim_v},
          {"causal", row.causal},
          {"kernel", row.plan.kernel},
          {"detail", row.plan.detail},
          {"seconds",
           {{"median", row.seconds.median},
            {"minimum", row.seconds.minimum},
            {"quartile_low", row.seconds.quartile_low},
            {"quartile_high", row.seconds.quartile_high},
            {"count", row.seconds.count}}},
          {"cpu_share", row.cpu_share},
          {row.is_bandwidth ? "bytes" : "flops", row.work},
          {row.is_bandwidth ? "gigabytes_per_second" : "gflops", rate / 1e9},
          {"peak",
           {{"of", row.peak_of},
            {"isa", row.peak_isa},
            {row.is_bandwidth ? "gigabytes_per_second" : "gflops", row.peak / 1e9}}},
          {"percent_of_peak",
           {{"median", 100 * row.fraction.median},
            {"quartile_low", 100 * row.fraction.quartile_low},
            {"quartile_high", 100 * row.fraction.quartile_high}}}};
}

}  // namespace fovea::cli
