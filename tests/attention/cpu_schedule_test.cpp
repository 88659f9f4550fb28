// SPDX-License-Identifier: Apache-2.0
// The cutting of a call into tasks, and the merge, with a kernel of plain loops that counts what it is given.
#include "attention/cpu_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/math.h"

namespace fovea {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  const char* name;
  MaskRule mask;
  int batch, heads_q, heads_kv, seqlen_q, seqlen_k;
  std::vector<int> lens_q = {}, lens_k = {};
};

const Case kCases[] = {
    {"plain", {MaskKind::kNone}, 2, 4, 2, 200, 300},
    {"causal", {MaskKind::kCausal}, 2, 4, 2, 300, 300},
    {"one head, few rows", {MaskKind::kNone}, 1, 1, 1, 3, 5000},
    {"one head, causal", {MaskKind::kCausal}, 1, 1, 1, 130, 4000},
    {"causal with rows that see nothing", {MaskKind::kCausal}, 1, 2, 1, 700, 600},
    {"decode with 8 heads of a group", {MaskKind::kNone}, 1, 16, 2, 1, 3000},
    {"window", {MaskKind::kWindow, MaskAlignment::kBottomRight, 700, 600}, 1, 2, 2, 64, 4000},
    {"no keys", {MaskKind::kNone}, 2, 2, 1, 5, 0},
    {"lengths", {MaskKind::kCausal}, 3, 4, 2, 90, 2000, {90, 0, 50}, {2000, 100, 0}},
    {"decode with many kv heads", {MaskKind::kNone}, 1, 80, 40, 2, 1500},
    {"decode with lengths", {MaskKind::kCausal}, 3, 12, 6, 3, 3000, {3, 0, 2}, {3000, 100, 0}},
};

constexpr int kHeadDim = 32;
constexpr int kDecodeRows = 8;

/// Memory and arguments of a case, dense, batch x seqlen x heads x head_dim, fp32.
struct Call {
  std::vector<float> q, k, v, o, lse;
  AttentionArgs args;
  AttentionConfig config;

  explicit Call(const Case& c) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>* x, int rows, int heads) {
      x->resize(static_cast<std::size_t>(c.batch) * static_cast<std::size_t>(rows * heads * kHeadDim));
      for (float& e : *x) e = normal(random);
    };
    fill(&q, c.seqlen_q, c.heads_q);
    fill(&k, c.seqlen_k, c.heads_kv);
    fill(&v, c.seqlen_k, c.heads_kv);
    o.assign(q.size(), -7.0f);
    lse.assign(q.size() / kHeadDim, -7.0f);
    args.batch = c.batch;
    args.num_heads_q = c.heads_q;
    args.num_heads_kv = c.heads_kv;
    args.head_dim_qk = args.head_dim_v = kHeadDim;
    args.softmax_scale = 0.5f;
    args.mask = c.mask;
    const Int64 row_q = c.heads_q * kHeadDim, row_k = c.heads_kv * kHeadDim;
    args.query = {q.data(),
                  row_q * c.seqlen_q,
                  row_q,
                  kHeadDim,
                  c.seqlen_q,
                  nullptr,
                  c.lens_q.empty() ? nullptr : c.lens_q.data()};
    args.kv = {k.data(),
               v.data(),
               row_k * c.seqlen_k,
               row_k,
               kHeadDim,
               row_k * c.seqlen_k,
               row_k,
               kHeadDim,
               c.seqlen_k,
               nullptr,
               c.lens_k.empty() ? nullptr : c.lens_k.data()};
    args.output = {o.data(),  row_q * c.seqlen_q, row_q, kHeadDim, lse.data(), Int64{c.heads_q} * c.seqlen_q,
                   c.seqlen_q};
    config.dtype = DType::kF32;
    config.block_q = 128;
    config.block_k = 96;
  }
};

void one_row(const AttentionArgs& args, const cpu::AttentionTask& task, int row, int head) {
  const SequenceShape shape = sequence_shape(args.query, args.kv, task.batch);
  const int head_kv = head / (args.num_heads_q / args.num_heads_kv);
  KeyInterval keys = {0, 0};
  if (row < shape.seqlen_q) {
    keys = visible_keys(args.mask.kind, sequence_mask(args.mask, shape.seqlen_q, shape.seqlen_k), row);
  }
  double sum = 0, o[kHeadDim] = {};
  const auto* q = static_cast<const float*>(args.query.q) + task.batch * args.query.stride_batch +
                  row * args.query.stride_row + head * args.query.stride_head;
  for (int j = std::max(keys.begin, task.k_begin); j < std::min(keys.end, task.k_end); ++j) {
    const Int64 at = task.batch * args.kv.k_stride_batch + j * args.kv.k_stride_row + head_kv * args.kv.k_stride_head;
    double score = 0;
    for (int d = 0; d < kHeadDim; ++d) score += double{q[d]} * static_cast<const float*>(args.kv.k)[at + d];
    const double weight = std::exp(score * args.softmax_scale);
    sum += weight;
    for (int d = 0; d < kHeadDim; ++d) o[d] += weight * static_cast<const float*>(args.kv.v)[at + d];
  }
  const int rows = task.q_end - task.q_begin;
  const int state = (head - task.head_begin) * rows + row - task.q_begin;
  float* out = task.partial_o ? task.partial_o + state * kHeadDim
                              : static_cast<float*>(args.output.o) + task.batch * args.output.stride_batch +
                                    row * args.output.stride_row + head * args.output.stride_head;
  for (int d = 0; d < kHeadDim; ++d) out[d] = sum == 0 ? 0 : static_cast<float>(o[d] / sum);
  const float lse = sum == 0 ? -kInfinity : static_cast<float>(std::log(sum));
  if (task.partial_lse) {
    task.partial_lse[state] = lse;
  } else {
    args.output.lse[task.batch * args.output.lse_stride_batch + head * args.output.lse_stride_head + row] = lse;
  }
}

const cpu::Kernels kPlainLoops = {
    "plain loops", nullptr, [](const AttentionConfig&) { return Int64{64}; },
    [](const AttentionArgs& args, const AttentionConfig&, const cpu::AttentionTask& task, void*) {
      for (int head = task.head_begin; head < task.head_end; ++head) {
        for (int row = task.q_begin; row < task.q_end; ++row) one_row(args, task, row, head);
      }
    },
    [](DType) { return kDecodeRows; }};

Call computed(const Case& c, int num_threads) {
  Call call(c);
  call.args.output.o = call.o.data();
  cpu::ThreadPool pool(num_threads);
  run_cpu_schedule(pool, kPlainLoops, call.args, call.config);
  return call;
}

TEST(CpuSchedule, every_row_meets_every_visible_key_exactly_once) {
  for (const Case& c : kCases) {
    for (int threads : {1, 2, 16}) {
      const Call call(c);
      const CpuSchedule schedule = make_cpu_schedule(call.args, call.config, kDecodeRows, threads);
      for (int b = 0; b < c.batch; ++b) {
        const SequenceShape shape = sequence_shape(call.args.query, call.args.kv, b);
        const SequenceMask mask = sequence_mask(c.mask, shape.seqlen_q, shape.seqlen_k);
        for (int head = 0; head < c.heads_q; ++head) {
          for (int row = 0; row < c.seqlen_q; ++row) {
            int tasks = 0, keys = 0, chunks = 0;
            const KeyInterval sees = row < shape.seqlen_q ? visible_keys(c.mask.kind, mask, row) : KeyInterval{0, 0};
            for (const auto& t : schedule.tasks) {
              if (t.task.batch != b || head < t.task.head_begin || head >= t.task.head_end) continue;
              if (row < t.task.q_begin || row >= t.task.q_end) continue;
              ++tasks;
              if (t.split >= 0) chunks = schedule.splits[static_cast<std::size_t>(t.split)].num_chunks;
              keys += std::max(0, std::min(sees.end, t.task.k_end) - std::max(sees.begin, t.task.k_begin));
            }
            ASSERT_EQ(tasks, std::max(1, chunks)) << c.name << " row " << row << " head " << head;
            ASSERT_EQ(keys, sees.size()) << c.name << " row " << row << " head " << head;
          }
        }
      }
    }
  }
}

TEST(CpuSchedule, few_rows_over_many_keys_become_a_task_for_every_thread) {
  const Call call(kCases[2]);
  EXPECT_EQ(make_cpu_schedule(call.args, call.config, kDecodeRows, 1).tasks.size(), 1u);
  EXPECT_GE(make_cpu_schedule(call.args, call.config, kDecodeRows, 2).tasks.size(), 7u);
  EXPECT_LE(make_cpu_schedule(call.args, call.config, kDecodeRows, 64).tasks.size(), 10u)
      << "pieces of at least 512 keys";
}

TEST(CpuSchedule, a_task_of_few_rows_has_all_kv_heads_that_lie_side_by_side) {
  Call call(kCases[5]);
  const auto heads_of_first = [&] {
    const cpu::AttentionTask task = make_cpu_schedule(call.args, call.config, kDecodeRows, 2).tasks[0].task;
    return task.head_end - task.head_begin;
  };
  EXPECT_EQ(heads_of_first(), 16);
  std::swap(call.args.kv.v_stride_row, call.args.kv.v_stride_head);
  EXPECT_EQ(heads_of_first(), 8) << "values of a head lie together";
  std::swap(call.args.kv.v_stride_row, call.args.kv.v_stride_head);
  call.args.query.seqlen = 2;
  EXPECT_EQ(heads_of_first(), 8) << "16 rows a kv head are too many";
}

TEST(CpuSchedule, threads_are_served_before_kv_heads_are_read_together) {
  const Call call(kCases[9]);
  const CpuSchedule schedule = make_cpu_schedule(call.args, call.config, kDecodeRows, 16);
  EXPECT_GE(schedule.tasks.size(), 16u);
}

TEST(CpuSchedule, a_call_of_a_few_microseconds_wakes_nobody) {
  const Call small({"small", {MaskKind::kNone}, 1, 1, 1, 64, 64});
  EXPECT_EQ(make_cpu_schedule(small.args, small.config, kDecodeRows, 16).num_threads, 1);
  const Call large(kCases[3]);
  EXPECT_EQ(make_cpu_schedule(large.args, large.config, kDecodeRows, 16).num_threads, 16);
}

TEST(CpuSchedule, with_few_blocks_the_longest_tasks_come_first) {
  const Call call(kCases[1]);
  const CpuSchedule schedule = make_cpu_schedule(call.args, call.config, kDecodeRows, 8);
  ASSERT_TRUE(schedule.splits.empty());
  const auto work = [&](const CpuSchedule::Task& t) { return t.pairs; };
  for (std::size_t i = 1; i < schedule.tasks.size(); ++i) {
    EXPECT_LE(work(schedule.tasks[i]), work(schedule.tasks[i - 1]));
  }
}

TEST(CpuSchedule, nothing_to_do_is_no_task) {
  for (int zero : {0, 1, 2}) {
    Call call(kCases[0]);
    if (zero == 0) call.args.batch = 0;
    if (zero == 1) call.args.num_heads_q = call.args.num_heads_kv = 0;
    if (zero == 2) call.args.query.seqlen = 0;
    EXPECT_TRUE(make_cpu_schedule(call.args, call.config, kDecodeRows, 2).tasks.empty());
  }
}

TEST(CpuSchedule, merged_states_equal_the_whole) {
  for (const Case& c : kCases) {
    const Call whole = computed(c, 1);
    for (int threads : {2, 16}) {
      const Call split = computed(c, threads);
      for (std::size_t i = 0; i < whole.o.size(); ++i) {
        ASSERT_NEAR(split.o[i], whole.o[i], 3e-6f) << c.name << ", " << threads << " threads, element " << i;
      }
      for (std::size_t i = 0; i < whole.lse.size(); ++i) {
        if (whole.lse[i] == -kInfinity) {
          ASSERT_EQ(split.lse[i], -kInfinity) << c.name << ", row " << i;
        } else {
          ASSERT_NEAR(split.lse[i], whole.lse[i], 4e-6f) << c.name << ", row " << i;
        }
      }
    }
  }
}

TEST(CpuSchedule, the_same_number_of_threads_gives_the_same_bits) {
  for (const Case& c : {kCases[2], kCases[5]}) {  // with splits
    const Call first = computed(c, 4);
    for (int round = 0; round < 2; ++round) {
      const Call again = computed(c, 4);
      ASSERT_EQ(first.o, again.o) << c.name;
      ASSERT_EQ(first.lse, again.lse) << c.name;
    }
  }
}

/// One row, two chunks, head_dim 1.
struct Merged {
  float o, lse;
};
Merged merge_two(float o0, float lse0, float o1, float lse1, DType dtype = DType::kF32) {
  AttentionArgs args;
  args.head_dim_v = 1;
  args.query.seqlen = 1;
  float out[1] = {-7}, out_lse[1] = {-7};
  args.output = {out, 1, 1, 1, out_lse, 1, 1};
  const CpuSchedule::Split split = {{0, 0, 1, 0, 1, 0, 2, nullptr, nullptr}, 2, 0};
  const float o[] = {o0, o1};
  float lse[] = {lse0, lse1};
  merge_partial_states(args, dtype, split, o, lse);
  if (dtype == DType::kF32) return {out[0], out_lse[0]};
  std::uint16_t bits;
  std::memcpy(&bits, out, sizeof bits);
  return {dtype == DType::kBF16 ? bf16_to_float(bits) : fp16_to_float(bits), out_lse[0]};
}

TEST(Merge, weighs_by_lse) {
  const Merged m = merge_two(1.0f, std::log(3.0f), 5.0f, std::log(1.0f));
  EXPECT_NEAR(m.o, 2.0f, 1e-6f);
  EXPECT_NEAR(m.lse, std::log(4.0f), 1e-6f);
  EXPECT_EQ(merge_two(1.0f, 0.0f, 3.0f, 0.0f, DType::kBF16).o, 2.0f);
  EXPECT_EQ(merge_two(1.0f, 0.0f, 3.0f, 0.0f, DType::kF16).o, 2.0f);
}

TEST(Merge, large_lse_do_not_overflow) {
  const Merged m = merge_two(1.0f, 5000.0f, 3.0f, 5000.0f);
  EXPECT_EQ(m.o, 2.0f);
  EXPECT_NEAR(m.lse, 5000.6931f, 1e-3f);
}

TEST(Merge, chunks_without_keys_weigh_nothing) {
  EXPECT_EQ(merge_two(0.0f, -kInfinity, 3.0f, 1.0f).o, 3.0f);
  EXPECT_EQ(merge_two(0.0f, -kInfinity, 3.0f, 1.0f).lse, 1.0f);
  EXPECT_EQ(merge_two(0.0f, -kInfinity, 0.0f, -kInfinity).o, 0.0f);
  EXPECT_EQ(merge_two(0.0f, -kInfinity, 0.0f, -kInfinity).lse, -kInfinity);
}

TEST(Merge, nan_travels) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (float other : {0.0f, -kInfinity}) {
    EXPECT_TRUE(std::isnan(merge_two(nan, nan, 0.0f, other).o));
    EXPECT_TRUE(std::isnan(merge_two(0.0f, other, nan, nan).lse));
  }
}

}  // namespace
}  // namespace fovea
