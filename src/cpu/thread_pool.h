// SPDX-License-Identifier: Apache-2.0
// Persistent threads that take tasks from a shared counter. The caller takes part; idle threads spin for some tens of
// microseconds, then sleep. Threads are made at the first call that needs them, and anew in the child after fork().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "cpu/aligned_buffer.h"

namespace fovea::cpu {

class ThreadPool {
 public:
  static constexpr int kAllThreads = 1 << 20;

  /// num_threads counts the caller: 1 never makes a thread. Throws kInvalidArgument below 1.
  explicit ThreadPool(int num_threads);
  /// Joins the threads. No run() may be under way.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  /// Calls task(index, scratch) once for each index in [0, num_tasks); indices are handed out in ascending order, so
  /// put the longest first. Returns when all are done. Scratch is the running thread's own until the task returns. Any
  /// number of threads may call at the same time, and tasks may call again: threads help whichever call has tasks left.
  /// The first exception of a task is rethrown here; tasks not yet begun are then dropped.
  /// max_threads (the caller counts) bounds how many threads are woken for it; 1 leaves all to the caller.
  template <typename Task>
  void run(std::int64_t num_tasks, Task&& task, int max_threads = kAllThreads) {
    using Pointee = std::remove_reference_t<Task>;
    run_erased(
        num_tasks,
        [](void* self, std::int64_t index, Scratch& scratch) { (*static_cast<Pointee*>(self))(index, scratch); },
        const_cast<void*>(static_cast<const void*>(&task)), max_threads);
  }

  struct State;

  /// A buffer that the pool keeps between calls: for what a call needs beside its threads' scratch.
  class Lease {
   public:
    explicit Lease(ThreadPool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Scratch& scratch() { return *scratch_; }

   private:
    State& state_;
    std::unique_ptr<Scratch> scratch_;
  };

 private:
  using Function = void (*)(void* self, std::int64_t index, Scratch& scratch);
  void run_erased(std::int64_t num_tasks, Function function, void* self, int max_threads);
  State& state();

  const int num_threads_;
  std::atomic<State*> state_;
};

}  // namespace fovea::cpu
