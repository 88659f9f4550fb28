// SPDX-License-Identifier: Apache-2.0
// How a forward call is cut into tasks for the threads of a processor: by sequence, kv head and block of rows; and by
// keys where those are too few to keep all threads busy, with an exact merge of the partial states.
#pragma once

#include <cstdint>
#include <vector>

#include "contract/attention_args.h"
#include "contract/attention_config.h"
#include "cpu/kernels/kernels.h"
#include "cpu/thread_pool.h"

namespace fovea {

/// What kernels run, longest first. Every row of the output, those past a sequence's length included, is in one task,
/// or in the tasks of one split.
struct CpuSchedule {
  /// The same rows and heads over consecutive pieces of the keys.
  struct Split {
    cpu::AttentionTask rows;  // k_begin, k_end: all its keys
    int num_chunks;
    std::int64_t first_state;  // of the chunks' partial states, counted in (row, head) pairs from the first of all
    std::int64_t num_rows() const {
      return std::int64_t{rows.q_end - rows.q_begin} * (rows.head_end - rows.head_begin);
    }
  };
  struct Task {
    cpu::AttentionTask task;
    std::int64_t pairs = 0;  // (row, visible key), about, for each head
    int num_kv_heads = 1;    // that the task reads
    int split = -1;          // index of its split, or none
    int chunk = 0;
  };
  std::vector<Task> tasks;
  std::vector<Split> splits;
  std::int64_t num_states = 0;  // (row, head) pairs with a partial state
  int num_threads = 1;          // that there is work for
};

/// Deterministic in its arguments. decode_rows: (row, head) pairs of a kv head up to which a task may span several kv
/// heads (Kernels::attention_decode_rows), which it does where the heads of a row of keys lie side by side. Keys are
/// split only where whole rows make fewer than 4 tasks per thread and threads would wait for each other, into pieces of
/// at least 512 rows of a kv head: so the last bits of a result may differ between numbers of threads, never between
/// runs.
CpuSchedule make_cpu_schedule(const AttentionArgs& args, const AttentionConfig& config, int decode_rows,
                              int num_threads);

/// o and lse of rows from their partial states, in the order of the chunks. dtype: of o.
void merge_partial_states(const AttentionArgs& args, DType dtype, const CpuSchedule::Split& split,
                          const float* partial_o, float* partial_lse);

/// The whole call on the pool's threads.
void run_cpu_schedule(cpu::ThreadPool& pool, const cpu::Kernels& kernels, const AttentionArgs& args,
                      const AttentionConfig& config);

}  // namespace fovea
