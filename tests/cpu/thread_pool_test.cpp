// SPDX-License-Identifier: Apache-2.0
#include "cpu/thread_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "fovea/error.h"

namespace fovea::cpu {
namespace {

std::vector<int> times_run(ThreadPool& pool, int num_tasks) {
  std::vector<std::atomic<int>> counts(static_cast<std::size_t>(num_tasks));
  pool.run(num_tasks, [&](std::int64_t i, Scratch&) { counts[static_cast<std::size_t>(i)].fetch_add(1); });
  return {counts.begin(), counts.end()};
}

TEST(ThreadPool, every_task_runs_exactly_once) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int tasks : {0, 1, 2, 7, 1000}) {
      EXPECT_EQ(times_run(pool, tasks), std::vector<int>(static_cast<std::size_t>(tasks), 1)) << threads << " threads";
    }
  }
}

TEST(ThreadPool, each_thread_gets_its_tasks_in_ascending_order) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::map<std::thread::id, std::vector<std::int64_t>> seen;
  pool.run(500, [&](std::int64_t i, Scratch&) {
    const std::lock_guard lock(mutex);
    seen[std::this_thread::get_id()].push_back(i);
  });
  for (const auto& [id, indices] : seen) EXPECT_TRUE(std::is_sorted(indices.begin(), indices.end()));
}

TEST(ThreadPool, one_thread_means_the_callers) {
  ThreadPool pool(1);
  std::set<std::thread::id> ids;
  pool.run(50, [&](std::int64_t, Scratch&) { ids.insert(std::this_thread::get_id()); });
  EXPECT_EQ(ids, std::set<std::thread::id>{std::this_thread::get_id()});
}

TEST(ThreadPool, all_threads_take_part_when_tasks_wait_for_each_other) {
  ThreadPool pool(3);
  std::atomic<int> arrived{0};
  pool.run(3, [&](std::int64_t, Scratch&) {
    arrived.fetch_add(1);
    while (arrived.load() < 3) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 3);
}

TEST(ThreadPool, work_for_one_thread_stays_with_the_caller) {
  ThreadPool pool(4);
  std::set<std::thread::id> ids;
  pool.run(
      50, [&](std::int64_t, Scratch&) { ids.insert(std::this_thread::get_id()); }, 1);
  EXPECT_EQ(ids, std::set<std::thread::id>{std::this_thread::get_id()});
  std::atomic<int> tasks{0};
  pool.run(
      50, [&](std::int64_t, Scratch&) { tasks.fetch_add(1); }, 2);
  EXPECT_EQ(tasks.load(), 50);
}

TEST(ThreadPool, sleeping_threads_wake_up) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived{0};
    pool.run(3, [&](std::int64_t, Scratch&) {
      arrived.fetch_add(1);
      while (arrived.load() < 3) std::this_thread::yield();
    });
    std::this_thread::sleep_for(std::chrono::microseconds(100 * (round % 5)));
  }
}

TEST(ThreadPool, an_exception_of_a_task_reaches_the_caller) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    const auto run = [&] {
      pool.run(100, [](std::int64_t i, Scratch&) {
        if (i == 17) throw std::out_of_range("task 17");
      });
    };
    EXPECT_THROW(run(), std::out_of_range) << threads << " threads";
    EXPECT_EQ(times_run(pool, 10), std::vector<int>(10, 1)) << "the pool works on after an exception";
  }
}

TEST(ThreadPool, calls_from_several_threads_and_from_tasks_are_all_served) {
  ThreadPool pool(4);
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 30; ++round) {
        pool.run(5, [&](std::int64_t, Scratch&) { pool.run(3, [&](std::int64_t, Scratch&) { total.fetch_add(1); }); });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total.load(), 4 * 30 * 5 * 3);
}

TEST(ThreadPool, scratch_of_running_tasks_never_overlaps) {
  ThreadPool pool(4);
  std::atomic<bool> intact{true};
  const auto use = [&](std::int64_t mark, Scratch& scratch) {
    auto* words = static_cast<std::int64_t*>(scratch.reserve(4096));
    for (int i = 0; i < 512; ++i) words[i] = mark;
    std::this_thread::yield();
    for (int i = 0; i < 512; ++i) {
      if (words[i] != mark) intact = false;
    }
  };
  pool.run(200, [&](std::int64_t i, Scratch& scratch) {
    auto* word = static_cast<std::int64_t*>(scratch.reserve(8));
    *word = i;
    if (i % 10 == 0) pool.run(4, use);
    if (*word != i) intact = false;
    use(i, scratch);
  });
  EXPECT_TRUE(intact);
}

TEST(ThreadPool, works_again_in_the_child_after_fork) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer cannot make threads after fork()";
#endif
  ThreadPool pool(3);
  times_run(pool, 100);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(times_run(pool, 100) == std::vector<int>(100, 1) ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  EXPECT_EQ(times_run(pool, 100), std::vector<int>(100, 1)) << "and in the parent";
}

TEST(ThreadPool, fewer_than_one_thread_is_refused_by_name) {
  try {
    ThreadPool pool(0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.field(), "num_threads");
  }
}

TEST(Scratch, grows_and_is_aligned) {
  Scratch scratch;
  const auto misalignment = [&](std::size_t bytes, std::uintptr_t to) {
    return reinterpret_cast<std::uintptr_t>(scratch.reserve(bytes)) % to;
  };
  EXPECT_EQ(misalignment(1, 64), 0u);
  EXPECT_EQ(misalignment(100001, 64), 0u);
  EXPECT_EQ(misalignment((std::size_t{2} << 20) + 1, std::size_t{2} << 20), 0u);
  void* const large = scratch.reserve(1);
  EXPECT_EQ(scratch.reserve(std::size_t{3} << 20), large) << "4 MiB were there already";
}

TEST(Scratch, an_impossible_size_is_an_error_not_a_crash) {
  Scratch scratch;
  EXPECT_THROW(scratch.reserve(std::size_t{1} << 62), Error);
  EXPECT_NE(scratch.reserve(64), nullptr);
}

}  // namespace
}  // namespace fovea::cpu
