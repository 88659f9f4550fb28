// SPDX-License-Identifier: Apache-2.0
#include "tests/emulated_gpu/engine/launch.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "tests/emulated_gpu/engine/report.h"

namespace fovea::emulated {

Launch* launch = nullptr;
Engine engine = {};

namespace {

sigjmp_buf escape;
constexpr unsigned kSharedBegin = 1024;
constexpr std::size_t kSharedRegion = std::size_t{256} << 10;

void on_fault(int signal, siginfo_t* info, void*) {
  if (!launch) {
    ::signal(signal, SIG_DFL);
    return;
  }
  launch->failure = describe_fault(signal, info->si_addr);
  siglongjmp(escape, 1);
}

void catch_faults() {
  static thread_local char stack[64 << 10];
  const stack_t alternative = {.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
  sigaltstack(&alternative, nullptr);
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) sigaction(signal, &action, nullptr);
  });
}

void block_ended(Block& block) {
  for (const PendingLoad& load : launch->loads) {
    const bool comes_here = load.copy.blocks == 0 ? load.from == &block : (load.copy.blocks >> block.rank & 1) != 0;
    if (comes_here) fail("a block ended before a tensor copy into its shared memory had landed");
  }
  for (Fiber& fiber : block.fibers) {
    if (!fiber.stores.empty() || !fiber.store_groups.empty()) {
      fail("a block ended before a bulk store had read its shared memory (thread " + std::to_string(fiber.number) +
           ")");
    }
  }
}

/// The next thread to run, or null when all have ended.
Fiber* next_ready() {
  if (launch->options.asynchrony == Asynchrony::kRandom && launch->random() % 4 == 0) land_a_load();
  while (launch->ready.empty()) {
    // Products before copies: a copy that was issued too early has spoilt what they read already.
    const bool copies_first = launch->options.asynchrony == Asynchrony::kRandom && launch->random() % 2 == 0;
    if ((copies_first && land_a_load()) || end_a_product_wait() || land_a_load()) continue;
    for (const Block& block : launch->blocks) {
      if (block.alive > 0) fail(describe_deadlock());
    }
    return nullptr;
  }
  auto& ready = launch->ready;
  if (launch->options.seed != 0 && launch->random() % 4 == 0) {
    std::swap(ready.front(), ready[launch->random() % ready.size()]);
  }
  Fiber* next = ready.front();
  ready.pop_front();
  return next;
}

void switch_to_next(Context& from) {
  Fiber* next = next_ready();
  if (!next) {
    switch_context(from, launch->main);
    return;
  }
  if (&next->context == &from) {
    next->is_ready = false;
    return;
  }
  next->is_ready = false;
  engine.current = next;
  switch_context(from, next->context);
}

void run_fiber() {
  launch->kernel->run(launch->parameters);
  Fiber& fiber = self();
  check_nothing_in_flight(fiber);
  fiber.has_ended = true;
  fiber.warp->alive &= ~(1u << fiber.lane);
  --fiber.in->alive;
  leave_warp_words(fiber);
  leave_barriers(fiber);
  if (fiber.in->alive == 0) block_ended(*fiber.in);
  switch_to_next(fiber.context);
  std::abort();  // nobody wakes it again
}

void pause() {
  land_a_load();
  Fiber& fiber = self();
  wake(fiber);
  switch_to_next(fiber.context);
}

void fail_with(const char* text) { fail(text); }

void add_fiber(Block& block, int number, std::size_t stack) {
  const LaunchShape& shape = launch->shape;
  Fiber& fiber = block.fibers[static_cast<std::size_t>(number)];
  const auto n = static_cast<unsigned>(number);
  fiber = Fiber();
  fiber.thread = {n % shape.block.x, n / shape.block.x % shape.block.y, n / shape.block.x / shape.block.y};
  fiber.block = {block.number % shape.grid.x, block.number / shape.grid.x % shape.grid.y,
                 block.number / shape.grid.x / shape.grid.y};
  fiber.block_size = shape.block;
  fiber.grid_size = shape.grid;
  fiber.rank = block.rank;
  fiber.shared_begin = kSharedBegin;
  fiber.dynamic_shared = kSharedBegin + static_cast<unsigned>(launch->kernel->static_shared_bytes);
  fiber.shared_end = fiber.dynamic_shared + static_cast<unsigned>(shape.dynamic_shared_bytes);
  fiber.shared = block.memory + kSharedRegion - (fiber.shared_end + 127) / 128 * 128;
  fiber.in = &block;
  fiber.number = number;
  fiber.lane = number % kWarp;
  fiber.warp = &block.warps[static_cast<std::size_t>(number / kWarp)];
  fiber.warp->lanes[fiber.lane] = &fiber;
  fiber.warp->alive |= 1u << fiber.lane;
  start_context(fiber.context, stack_number(stack), kStackBytes, run_fiber);
  wake(fiber);
}

void start_block(Block& block, unsigned number, unsigned rank) {
  char* memory = block.memory;
  if (!memory) {
    memory = static_cast<char*>(
        mmap(nullptr, kSharedRegion + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory + kSharedRegion, 4096, PROT_NONE);
  }
  std::vector<Fiber> fibers = std::move(block.fibers);
  block = Block();
  block.fibers = std::move(fibers);
  block.number = number;
  block.rank = rank;
  block.memory = memory;
  const LaunchShape& shape = launch->shape;
  const int threads = static_cast<int>(shape.block.x * shape.block.y * shape.block.z);
  block.fibers.resize(static_cast<std::size_t>(threads));
  block.warps.resize(static_cast<std::size_t>((threads + kWarp - 1) / kWarp));
  block.warpgroups.resize(static_cast<std::size_t>((threads + kWarpgroup - 1) / kWarpgroup));
  for (Warpgroup& group : block.warpgroups) group.registers = shape.registers / 8 * 8;
  block.alive = threads;
  for (int i = 0; i < threads; ++i) {
    add_fiber(block, i,
              static_cast<std::size_t>(rank) * static_cast<std::size_t>(threads) + static_cast<std::size_t>(i));
  }
  const Fiber& first = block.fibers.front();
  std::memset(first.shared, launch->options.garbage, first.shared_end);
}

void run_clusters() {
  const Index& grid = launch->shape.grid;
  const unsigned blocks = grid.x * grid.y * grid.z, cluster = launch->shape.cluster;
  for (unsigned first = 0; first < blocks; first += cluster) {
    launch->ready.clear();
    launch->cluster_arrived = 0;
    launch->cluster_waiting.clear();
    launch->product_waits.clear();
    for (unsigned rank = 0; rank < cluster; ++rank) start_block(launch->blocks[rank], first + rank, rank);
    if (launch->options.seed != 0) std::shuffle(launch->ready.begin(), launch->ready.end(), launch->random);
    switch_to_next(launch->main);
    if (!launch->failure.empty()) return;
  }
}

void release_memory(Launch& l) {
  for (Block& block : l.blocks) {
    if (block.memory) munmap(block.memory, kSharedRegion + 4096);
  }
}

}  // namespace

void fail(const std::string& text) {
  launch->failure = text + describe_place();
  siglongjmp(escape, 1);
}

void block_on(const Wait& wait) {
  Fiber& fiber = self();
  fiber.wait = wait;
  switch_to_next(fiber.context);
  fiber.wait = {};
}

void wake(Fiber& fiber) {
  if (fiber.is_ready) return;
  fiber.is_ready = true;
  launch->ready.push_back(&fiber);
}

void wake_all(std::vector<Fiber*>& fibers) {
  for (Fiber* fiber : fibers) wake(*fiber);
  fibers.clear();
}

Block& block_of_address(Block& own, unsigned shared) {
  const unsigned rank = shared >> 24;
  if (rank == 0) return own;
  if (rank > launch->blocks.size()) fail("a shared address of a block that the cluster does not have: " + hex(shared));
  Block& block = launch->blocks[rank - 1];
  if (block.alive == 0) fail("an access to the shared memory of a block of the cluster that has ended: " + hex(shared));
  return block;
}

unsigned own_offset(Block& own, unsigned shared) {
  if (&block_of_address(own, shared) != &own) fail("the shared address " + hex(shared) + " is another block's");
  return offset_of_address(shared);
}

char* shared_at(Block& own, unsigned shared, unsigned bytes) {
  const Fiber& any = block_of_address(own, shared).fibers.front();
  const unsigned at = offset_of_address(shared);
  if (at < any.shared_begin || at + bytes > any.shared_end) {
    fail("shared address " + hex(shared) + " (" + std::to_string(bytes) + " bytes) is outside of " +
         hex(any.shared_begin) + " to " + hex(any.shared_end));
  }
  return any.shared + at;
}

std::string run_launch(const EngineOptions& options, const LaunchShape& shape, const KernelDescription& kernel,
                       void** parameters) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  catch_faults();
  engine.pause = pause;
  engine.fail = fail_with;
  add_warp_words(engine);
  add_barriers(engine);
  add_mbarriers(engine);
  add_copies(engine);
  add_products(engine);
  kernel.bind(&engine);
  Launch now;
  now.options = options;
  now.shape = shape;
  now.kernel = &kernel;
  now.parameters = parameters;
  now.blocks.resize(shape.cluster);
  now.random.seed(options.seed);
  launch = &now;
  if (sigsetjmp(escape, 1) == 0) run_clusters();
  launch = nullptr;
  engine.current = nullptr;
  release_memory(now);
  return now.failure;
}

}  // namespace fovea::emulated
