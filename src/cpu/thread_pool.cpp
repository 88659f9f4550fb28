// SPDX-License-Identifier: Apache-2.0
// Calls put a Job (on the caller's stack) into a list; a worker joins a job under the mutex, takes indices from the
// job's counter without it, and leaves by decrementing the job's count of helpers: its last touch, after which the
// caller may return. A caller takes its job off the list before it waits, so nobody joins late.
#include "cpu/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "cpu/processor.h"

namespace fovea::cpu {
namespace {

// How long an idle thread looks for work before it sleeps: longer than the gap between two calls of a loop, shorter
// than what anybody would notice. A wake-up through the kernel costs 5 to 50 us.
constexpr std::chrono::microseconds kSpinTime{40};

// Counts fork()s on the child's side: a State of an older generation has lost its threads, and its mutex may be locked
// for ever.
std::atomic<unsigned> fork_generation{0};

void count_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { fork_generation.fetch_add(1); });
  check(registered == 0, ErrorCode::kInternal, "", "pthread_atfork failed with {}", registered);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// True as soon as done() is; false when the time is up.
template <typename Condition>
bool spin_until(std::chrono::microseconds time, Condition done) {
  if (done()) return true;
  if (time.count() == 0) return false;
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

struct Job {
  void (*function)(void*, std::int64_t, Scratch&);
  void* self;
  std::int64_t num_tasks;
  Job* below = nullptr;          // next in the list, under the mutex
  std::exception_ptr exception;  // written by whoever sets `failed`
  std::atomic<bool> failed{false};
  std::atomic<int> helpers{0};  // joined under the mutex, left without it
  alignas(AlignedBuffer::kCacheLine) std::atomic<std::int64_t> next{0};

  bool has_tasks() const { return next.load(std::memory_order_relaxed) < num_tasks; }

  void work(Scratch& scratch) {
    for (;;) {
      const std::int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= num_tasks) return;
      try {
        function(self, index, scratch);
      } catch (...) {
        if (!failed.exchange(true)) exception = std::current_exception();
        next.store(num_tasks, std::memory_order_relaxed);
      }
    }
  }
};

}  // namespace

struct ThreadPool::State {
  const unsigned generation = fork_generation.load();
  const int max_workers;
  const std::chrono::microseconds spin_time;
  std::mutex mutex;
  Job* jobs = nullptr;
  std::vector<std::thread> workers;
  bool started = false;
  // Last returned first: a lone caller gets its own, still warm, and without the mutex.
  std::atomic<Scratch*> last_spare{nullptr};
  std::vector<std::unique_ptr<Scratch>> spare;
  std::size_t num_leases = 0;              // ever made; spare has room for them all, so that giving back cannot fail
  std::atomic<std::uint32_t> posted{0};    // counts jobs, and the order to stop
  std::atomic<std::uint32_t> finished{0};  // counts helpers that left a job
  std::atomic<bool> stopping{false};

  // With more threads than processors a spinning thread keeps a working one from running.
  explicit State(int num_threads)
      : max_workers(num_threads - 1),
        spin_time(num_threads <= usable_processors() ? kSpinTime : std::chrono::microseconds(0)) {}

  ~State() {
    stopping.store(true);
    posted.fetch_add(1);
    posted.notify_all();
    for (std::thread& worker : workers) worker.join();
    delete last_spare.load();
  }

  void start_workers() {  // under the mutex
    started = true;
    try {
      for (int i = 0; i < max_workers; ++i) workers.emplace_back([this] { serve(); });
    } catch (const std::system_error& error) {
      log(LogLevel::kWarn, "only {} of {} threads could be made: {}", workers.size() + 1, max_workers + 1,
          error.what());
    }
  }

  void serve() {
    Scratch scratch;
    std::uint32_t seen = 0;
    for (;;) {
      if (Job* job = join_a_job(&seen)) {
        job->work(scratch);
        job->helpers.fetch_sub(1, std::memory_order_release);  // the job may be gone from here on
        finished.fetch_add(1);
        finished.notify_all();
      } else if (stopping.load()) {  // after `seen` was read: a later order to stop ends the wait below
        return;
      } else if (!spin_until(spin_time, [&] { return posted.load(std::memory_order_relaxed) != seen; })) {
        posted.wait(seen);
      }
    }
  }

  /// Null when no job has tasks left; then `seen` is the value of `posted` that this is true for.
  Job* join_a_job(std::uint32_t* seen) {
    const std::lock_guard lock(mutex);
    *seen = posted.load();
    for (Job* job = jobs; job; job = job->below) {
      if (!job->has_tasks()) continue;
      job->helpers.fetch_add(1, std::memory_order_relaxed);
      return job;
    }
    return nullptr;
  }

  void post(Job& job, int max_threads) {
    {
      const std::lock_guard lock(mutex);
      if (!started) start_workers();
      job.below = jobs;
      jobs = &job;
      posted.fetch_add(1);
    }
    // Waking costs the caller some microseconds a thread, so only as many as there is work for; who spins comes anyway.
    const std::int64_t wanted = std::min<std::int64_t>(job.num_tasks, max_threads) - 1;
    if (wanted >= max_workers) {
      posted.notify_all();
    } else {
      for (std::int64_t i = 0; i < wanted; ++i) posted.notify_one();
    }
  }

  void withdraw(Job& job) {
    {
      const std::lock_guard lock(mutex);
      Job** link = &jobs;
      while (*link != &job) link = &(*link)->below;
      *link = job.below;
    }
    const auto alone = [&] { return job.helpers.load(std::memory_order_acquire) == 0; };
    if (spin_until(spin_time, alone)) return;
    for (;;) {
      const std::uint32_t seen = finished.load();
      if (alone()) return;
      finished.wait(seen);
    }
  }
};

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads), state_(nullptr) {
  check(num_threads >= 1, ErrorCode::kInvalidArgument, "num_threads", "num_threads is {}, must be at least 1",
        num_threads);
  count_forks();
  state_.store(new State(num_threads));
}

ThreadPool::~ThreadPool() {
  State* last = state_.load();
  if (last->generation == fork_generation.load()) delete last;
}

ThreadPool::State& ThreadPool::state() {
  State* current = state_.load();
  if (current->generation == fork_generation.load(std::memory_order_relaxed)) [[likely]]
    return *current;
  // After fork(): the old state's threads do not exist here, so it can be neither joined nor destroyed. It is left as
  // it is.
  auto fresh = std::make_unique<State>(num_threads_);
  if (state_.compare_exchange_strong(current, fresh.get())) return *fresh.release();
  return *current;
}

ThreadPool::Lease::Lease(ThreadPool& pool)
    : state_(pool.state()), scratch_(state_.last_spare.exchange(nullptr, std::memory_order_acquire)) {
  if (scratch_) return;
  {
    const std::lock_guard lock(state_.mutex);
    if (!state_.spare.empty()) {
      scratch_ = std::move(state_.spare.back());
      state_.spare.pop_back();
      return;
    }
    state_.spare.reserve(++state_.num_leases);
  }
  scratch_ = std::make_unique<Scratch>();
}

ThreadPool::Lease::~Lease() {
  scratch_.reset(state_.last_spare.exchange(scratch_.release(), std::memory_order_acq_rel));
  if (!scratch_) return;
  const std::lock_guard lock(state_.mutex);
  state_.spare.push_back(std::move(scratch_));
}

void ThreadPool::run_erased(std::int64_t num_tasks, Function function, void* self, int max_threads) {
  if (num_tasks <= 0) return;
  Lease lease(*this);
  if (num_tasks == 1 || num_threads_ == 1 || max_threads <= 1) {
    for (std::int64_t index = 0; index < num_tasks; ++index) function(self, index, lease.scratch());
    return;
  }
  State& s = state();
  Job job{.function = function, .self = self, .num_tasks = num_tasks, .below = nullptr, .exception = nullptr};
  s.post(job, max_threads);
  job.work(lease.scratch());
  s.withdraw(job);
  if (job.failed.load()) std::rethrow_exception(job.exception);
}

}  // namespace fovea::cpu
