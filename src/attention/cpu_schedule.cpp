// SPDX-License-Identifier: Apache-2.0
// A call of few rows and many keys (decode) and one of many rows with few heads take the same path: what differs is how
// many tasks come out, and whether they are split.
#include "attention/cpu_schedule.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "base/math.h"

namespace fovea {
namespace {

using cpu::AttentionTask;

// With as many tasks per thread any order ends well; with fewer the blocks are chosen by their makespan.
constexpr int kTasksPerThread = 4;
// Fewer rows of a kv head than this per piece cost more in starting and merging than the split gains.
constexpr int kMinChunkKeys = 512;
// A task of fewer (row, head) pairs does not fill a register tile.
constexpr int kMinTaskRows = 64;
// Keys and values of one position, of all kv heads of a task: so few that a block of keys stays in the cache.
constexpr int kMaxPositionBytes = 1 << 14;

int keys_of(const AttentionTask& task) { return std::max(0, task.k_end - task.k_begin); }
/// Keys that the task reads, each kv head's.
std::int64_t rows_read(const CpuSchedule::Task& t) { return std::int64_t{keys_of(t.task)} * t.num_kv_heads; }

/// The time of a task in (row, key) pairs. Converting or packing a key costs what 16 rows do with it (measured 13 with
/// AVX-512, 512 keys of 64), starting a task and storing its rows 16 keys per row, a partial state twice that.
std::int64_t cost_of(const CpuSchedule::Task& t) {
  const std::int64_t heads = t.task.head_end - t.task.head_begin;
  const std::int64_t rows = heads * (t.task.q_end - t.task.q_begin);
  return heads * t.pairs + 16 * rows_read(t) + (t.split >= 0 ? 48 : 16) * rows;
}

/// Threads for which there is enough to do, by a rough estimate of the time: it decides about microseconds only.
int useful_threads(const AttentionArgs& args, DType dtype, const std::vector<CpuSchedule::Task>& tasks,
                   int num_threads) {
  constexpr double kFlopsPerSecond = 1e11, kBytesPerSecond = 1e10;  // of one thread
  // Waking a sleeping thread takes 20 to 40 us, one that still spins less than 1 us (measured).
  constexpr double kSecondsPerThread = 10e-6;
  double seconds = 0;
  for (const CpuSchedule::Task& t : tasks) {
    const double head_dims = args.head_dim_qk + args.head_dim_v;
    const double pairs = static_cast<double>(t.pairs) * (t.task.head_end - t.task.head_begin);
    seconds += pairs * head_dims * 2 / kFlopsPerSecond +
               static_cast<double>(rows_read(t)) * head_dims * size_bytes(dtype) / kBytesPerSecond;
    if (seconds > kSecondsPerThread * num_threads) return num_threads;
  }
  return std::max(1, static_cast<int>(seconds / kSecondsPerThread));
}

struct TaskShape {
  int heads;  // query heads of one kv head
  int rows;
  int kv_heads = 1;
};

TaskShape task_shape(const AttentionArgs& args, int block_q) {
  const int heads_per_kv = args.num_heads_q / args.num_heads_kv;
  const int heads = std::clamp(block_q, 1, heads_per_kv);
  return {heads, std::max(1, block_q / heads)};
}

/// kv heads that a task of few rows reads together, in the order of memory: as many as lie side by side. 1 where heads
/// lie apart, each as one stream of keys, or where a task has many rows.
int kv_heads_together(const AttentionArgs& args, const AttentionConfig& config, int decode_rows) {
  const auto side_by_side = [](Int64 stride_head, Int64 stride_row) {
    return std::abs(stride_head) < std::abs(stride_row);
  };
  const KeyValueDense& kv = args.kv;
  const std::int64_t rows = std::int64_t{args.query.seqlen} * (args.num_heads_q / args.num_heads_kv);
  if (rows > std::min(decode_rows, config.block_q)) return 1;
  if (!side_by_side(kv.k_stride_head, kv.k_stride_row) || !side_by_side(kv.v_stride_head, kv.v_stride_row)) return 1;
  const std::int64_t head_bytes = std::int64_t{args.head_dim_qk + args.head_dim_v} * size_bytes(config.dtype);
  const auto most = static_cast<int>(
      std::clamp<std::int64_t>(kMaxPositionBytes / std::max<std::int64_t>(1, head_bytes), 1, cpu::kMaxTaskKvHeads));
  return ceil_div(args.num_heads_kv, ceil_div(args.num_heads_kv, most));
}

/// Tasks of one sequence and query head group, last rows first: under a causal mask those see the most keys.
void add_tasks(const AttentionArgs& args, const SequenceShape& shape, const TaskShape& size, AttentionTask task,
               int num_kv_heads, std::vector<CpuSchedule::Task>* tasks) {
  const SequenceMask mask = sequence_mask(args.mask, shape.seqlen_q, shape.seqlen_k);
  for (int block = ceil_div(shape.rows_q, size.rows) - 1; block >= 0; --block) {
    task.q_begin = block * size.rows;
    task.q_end = std::min(shape.rows_q, task.q_begin + size.rows);
    const int valid_end = std::min(task.q_end, shape.seqlen_q);
    KeyInterval keys = {0, 0};
    std::int64_t pairs = 0;
    if (valid_end > task.q_begin) {
      keys = tile_keys(args.mask.kind, mask, task.q_begin, valid_end);
      const std::int64_t first = visible_keys(args.mask.kind, mask, task.q_begin).size();
      pairs = (first + visible_keys(args.mask.kind, mask, valid_end - 1).size()) * (valid_end - task.q_begin) / 2;
    }
    task.k_begin = keys.empty() ? 0 : keys.begin;
    task.k_end = keys.empty() ? 0 : keys.end;
    tasks->push_back({task, pairs, num_kv_heads});
  }
}

std::vector<CpuSchedule::Task> make_tasks(const AttentionArgs& args, const TaskShape& size) {
  std::vector<int> sequences(static_cast<std::size_t>(args.batch));
  std::iota(sequences.begin(), sequences.end(), 0);
  const auto shape_of = [&](int b) { return sequence_shape(args.query, args.kv, b); };
  if (args.query.cu_seqlens || args.kv.cu_seqlens || args.query.seq_lens || args.kv.seq_lens) {
    std::stable_sort(sequences.begin(), sequences.end(), [&](int a, int b) {
      const SequenceShape x = shape_of(a), y = shape_of(b);
      return std::int64_t{x.seqlen_q} * x.seqlen_k > std::int64_t{y.seqlen_q} * y.seqlen_k;
    });
  }
  std::vector<CpuSchedule::Task> tasks;
  const int heads_per_kv = args.num_heads_q / args.num_heads_kv;
  for (int b : sequences) {
    const SequenceShape shape = shape_of(b);
    for (int kv = 0; kv < args.num_heads_kv; kv += size.kv_heads) {
      const int kv_heads = std::min(size.kv_heads, args.num_heads_kv - kv);
      const int heads = kv_heads * heads_per_kv;
      for (int h = 0; h < heads; h += size.kv_heads * size.heads) {
        AttentionTask task = {};
        task.batch = b;
        task.head_begin = kv * heads_per_kv + h;
        task.head_end = task.head_begin + std::min(size.kv_heads * size.heads, heads - h);
        add_tasks(args, shape, size, task, kv_heads, &tasks);
      }
    }
  }
  return tasks;
}

void sort_longest_first(std::vector<CpuSchedule::Task>* tasks) {
  const auto longer = [](const CpuSchedule::Task& a, const CpuSchedule::Task& b) { return cost_of(a) > cost_of(b); };
  if (!std::is_sorted(tasks->begin(), tasks->end(), longer)) std::stable_sort(tasks->begin(), tasks->end(), longer);
}

/// When the last thread ends if each takes the next task as soon as it is free.
std::int64_t makespan(const std::vector<CpuSchedule::Task>& tasks, int num_threads) {
  std::vector<std::int64_t> free_at(static_cast<std::size_t>(num_threads), 0);  // a heap, earliest first
  std::int64_t end = 0;
  for (const CpuSchedule::Task& t : tasks) {
    std::pop_heap(free_at.begin(), free_at.end(), std::greater<>());
    free_at.back() += cost_of(t);
    end = std::max(end, free_at.back());
    std::push_heap(free_at.begin(), free_at.end(), std::greater<>());
  }
  return end;
}

/// The tasks of `schedule` cut by keys into pieces of about the same cost, kTasksPerThread per thread, whole blocks of
/// keys each.
CpuSchedule with_split_keys(const CpuSchedule& schedule, int block_k, int num_threads) {
  std::int64_t total = 0;
  for (const CpuSchedule::Task& t : schedule.tasks) total += cost_of(t);
  const std::int64_t piece_cost = total / (kTasksPerThread * num_threads) + 1;
  CpuSchedule result;
  for (const CpuSchedule::Task& t : schedule.tasks) {
    const int keys = keys_of(t.task);
    const auto wanted = static_cast<int>(std::min<std::int64_t>((cost_of(t) + piece_cost - 1) / piece_cost, keys));
    const auto num_pieces = static_cast<int>(std::min<std::int64_t>(wanted, rows_read(t) / kMinChunkKeys));
    if (num_pieces <= 1) {
      result.tasks.push_back(t);
      continue;
    }
    const auto size = static_cast<int>(round_up(ceil_div(keys, num_pieces), std::max(1, block_k)));
    const CpuSchedule::Split split = {t.task, ceil_div(keys, size), result.num_states};
    for (int chunk = 0; chunk < split.num_chunks; ++chunk) {
      CpuSchedule::Task piece = {t.task, 0, t.num_kv_heads, static_cast<int>(result.splits.size()), chunk};
      piece.task.k_begin = t.task.k_begin + chunk * size;
      piece.task.k_end = std::min(t.task.k_end, piece.task.k_begin + size);
      piece.pairs = t.pairs * keys_of(piece.task) / keys;
      result.tasks.push_back(piece);
    }
    result.num_states += split.num_rows() * split.num_chunks;
    result.splits.push_back(split);
  }
  return result;
}

struct TimedSchedule {
  CpuSchedule schedule;
  double time = std::numeric_limits<double>::infinity();
};

// A cut that gains less is not worth its risk.
constexpr double kWorth = 0.98;
// kv heads that lie side by side, but are read one after the other, gain nothing before they gain this.
constexpr double kWorthApart = 0.8;

/// Tasks of this size, with or without a split of the keys.
TimedSchedule best_of_size(const AttentionArgs& args, const AttentionConfig& config, const TaskShape& size,
                           int num_threads) {
  const auto timed = [num_threads](CpuSchedule schedule) {
    sort_longest_first(&schedule.tasks);
    const auto time = static_cast<double>(makespan(schedule.tasks, num_threads));
    return TimedSchedule{std::move(schedule), time};
  };
  CpuSchedule whole;
  whole.tasks = make_tasks(args, size);
  TimedSchedule split = timed(with_split_keys(whole, config.block_k, num_threads));
  TimedSchedule best = timed(std::move(whole));
  if (!split.schedule.splits.empty() && split.time < kWorth * best.time) best = std::move(split);
  return best;
}

/// Too few tasks: of smaller blocks of rows, or of fewer kv heads in one task, what ends first.
CpuSchedule best_for_threads(const AttentionArgs& args, const AttentionConfig& config, int kv_heads, int num_threads) {
  TaskShape size = task_shape(args, config.block_q);
  TimedSchedule best;
  const auto consider = [&](double worth) {
    TimedSchedule candidate = best_of_size(args, config, size, num_threads);
    if (candidate.time < worth * best.time) best = std::move(candidate);
  };
  for (size.kv_heads = kv_heads; size.kv_heads > 1; size.kv_heads = ceil_div(size.kv_heads, 2)) consider(kWorthApart);
  int last_rows = 0;
  for (int block_q = config.block_q; block_q >= kMinTaskRows || last_rows == 0; block_q /= 2) {
    size = task_shape(args, block_q);
    const int rows = std::min(size.rows, args.query.seqlen);
    if (rows == last_rows) continue;
    last_rows = rows;
    consider(kv_heads > 1 ? kWorthApart : kWorth);
  }
  return std::move(best.schedule);
}

/// A row of fp32 times `factor` as dtype.
void store_row(DType dtype, const float* row, float factor, int n, void* out) {
  if (dtype == DType::kF32) {
    for (int i = 0; i < n; ++i) static_cast<float*>(out)[i] = row[i] * factor;
  } else if (dtype == DType::kBF16) {
    for (int i = 0; i < n; ++i) static_cast<std::uint16_t*>(out)[i] = float_to_bf16(row[i] * factor);
  } else {
    for (int i = 0; i < n; ++i) static_cast<std::uint16_t*>(out)[i] = float_to_fp16(row[i] * factor);
  }
}

/// The chunks' lse of one row become their weights relative to the greatest; returns the row's lse.
float weights_from_lse(float* lse, std::int64_t stride, int num_chunks, float* sum) {
  float greatest = -std::numeric_limits<float>::infinity();
  for (int c = 0; c < num_chunks; ++c) greatest = std::max(greatest, lse[c * stride]);
  *sum = 0;
  if (greatest ==
      -std::numeric_limits<float>::infinity()) {  // no chunk has keys for this row, or one of them holds NaN
    for (int c = 0; c < num_chunks; ++c) *sum += lse[c * stride] != greatest ? lse[c * stride] : 0;
    for (int c = 0; c < num_chunks; ++c) lse[c * stride] = 0;
    return *sum == 0 ? greatest : *sum;
  }
  for (int c = 0; c < num_chunks; ++c) {
    float& weight = lse[c * stride];
    weight = std::exp(weight - greatest);
    *sum += weight;
  }
  return greatest + std::log(*sum);
}

char* output_row(const AttentionArgs& args, DType dtype, int batch, std::int64_t row, int head) {
  const OutputArgs& out = args.output;
  return static_cast<char*>(out.o) +
         (batch * out.stride_batch + row * out.stride_row + head * out.stride_head) * size_bytes(dtype);
}

}  // namespace

CpuSchedule make_cpu_schedule(const AttentionArgs& args, const AttentionConfig& config, int decode_rows,
                              int num_threads) {
  CpuSchedule schedule;
  if (args.batch == 0 || args.num_heads_q == 0 || args.num_heads_kv == 0) return schedule;
  TaskShape size = task_shape(args, config.block_q);
  size.kv_heads = kv_heads_together(args, config, decode_rows);
  schedule.tasks = make_tasks(args, size);
  const int threads = useful_threads(args, config.dtype, schedule.tasks, num_threads);
  const auto enough = static_cast<std::size_t>(kTasksPerThread) * static_cast<std::size_t>(threads);
  if (threads > 1 && schedule.tasks.size() < enough) {
    schedule = best_for_threads(args, config, size.kv_heads, threads);
  } else if (threads > 1 && ceil_div(args.query.seqlen, size.rows) < kTasksPerThread * threads) {
    // Else head after head: that keeps a head's keys in the cache, and still ends with short tasks under a causal mask.
    // With few blocks per head the threads work on many heads at once anyway, and a long task taken last is waited for.
    sort_longest_first(&schedule.tasks);
  }
  schedule.num_threads = threads;
  return schedule;
}

void merge_partial_states(const AttentionArgs& args, DType dtype, const CpuSchedule::Split& split,
                          const float* partial_o, float* partial_lse) {
  const AttentionTask& rows = split.rows;
  const std::int64_t states = split.num_rows();
  const SequenceShape shape = sequence_shape(args.query, args.kv, rows.batch);
  std::vector<float> sum_of_o(static_cast<std::size_t>(args.head_dim_v));
  std::int64_t state = 0;  // (heads, rows), as the kernels write them
  for (int head = rows.head_begin; head < rows.head_end; ++head) {
    for (int row = rows.q_begin; row < rows.q_end; ++row, ++state) {
      float* weights = partial_lse + state;
      float sum = 0;
      const float lse = weights_from_lse(weights, states, split.num_chunks, &sum);
      std::fill(sum_of_o.begin(), sum_of_o.end(), 0.0f);
      for (int c = 0; c < split.num_chunks; ++c) {
        const float* o = partial_o + (c * states + state) * args.head_dim_v;
        const float weight = weights[c * states];
        for (int d = 0; d < args.head_dim_v; ++d) sum_of_o[static_cast<std::size_t>(d)] += weight * o[d];
      }
      const float factor = sum == 0 ? 0 : 1 / sum;
      const std::int64_t position = shape.q_first + row;
      store_row(dtype, sum_of_o.data(), factor, args.head_dim_v, output_row(args, dtype, rows.batch, position, head));
      if (args.output.lse) {
        args.output.lse[rows.batch * args.output.lse_stride_batch + head * args.output.lse_stride_head + position] =
            lse;
      }
    }
  }
}

void run_cpu_schedule(cpu::ThreadPool& pool, const cpu::Kernels& kernels, const AttentionArgs& args,
                      const AttentionConfig& config) {
  const CpuSchedule schedule =
      make_cpu_schedule(args, config, kernels.attention_decode_rows(config.dtype), pool.num_threads());
  const auto scratch_bytes = static_cast<std::size_t>(kernels.attention_scratch_bytes(config));
  cpu::ThreadPool::Lease workspace(pool);
  float* partial_o = nullptr;
  float* partial_lse = nullptr;
  if (schedule.num_states > 0) {
    const auto floats = static_cast<std::size_t>(schedule.num_states) * (static_cast<std::size_t>(args.head_dim_v) + 1);
    partial_lse = static_cast<float*>(workspace.scratch().reserve(floats * sizeof(float)));
    partial_o = partial_lse + schedule.num_states;
  }
  const auto unfinished = std::make_unique<std::atomic<int>[]>(schedule.splits.size());
  for (std::size_t i = 0; i < schedule.splits.size(); ++i) unfinished[i] = schedule.splits[i].num_chunks;

  const auto run_task = [&](std::int64_t index, cpu::Scratch& scratch) {
    const CpuSchedule::Task& t = schedule.tasks[static_cast<std::size_t>(index)];
    AttentionTask task = t.task;
    if (t.split < 0) {
      kernels.attention_forward(args, config, task, scratch.reserve(scratch_bytes));
      return;
    }
    const CpuSchedule::Split& split = schedule.splits[static_cast<std::size_t>(t.split)];
    float* const split_o = partial_o + split.first_state * args.head_dim_v;
    float* const split_lse = partial_lse + split.first_state;
    task.partial_o = split_o + t.chunk * split.num_rows() * args.head_dim_v;
    task.partial_lse = split_lse + t.chunk * split.num_rows();
    kernels.attention_forward(args, config, task, scratch.reserve(scratch_bytes));
    // Whoever finishes last merges, always in the order of the chunks: no second round over the threads, the same bits.
    if (unfinished[static_cast<std::size_t>(t.split)].fetch_sub(1, std::memory_order_acq_rel) == 1) {
      merge_partial_states(args, config.dtype, split, split_o, split_lse);
    }
  };
  pool.run(static_cast<std::int64_t>(schedule.tasks.size()), run_task, schedule.num_threads);
}

}  // namespace fovea
