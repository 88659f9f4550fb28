// SPDX-License-Identifier: Apache-2.0
// Barriers of a block, of some of its threads, of a cluster; registers that warpgroups give and take.
// docs.nvidia.com/cuda/parallel-thread-execution, "barrier.cta", "barrier.cluster", "setmaxnreg".
#include "tests/emulated_gpu/engine/launch.h"

namespace fovea::emulated {
namespace {

void finish_block_barrier(Block& block) {
  block.barrier_result = block.barrier_any;
  block.barrier_arrived = 0;
  block.barrier_any = false;
  wake_all(block.barrier_waiting);
}

int block_barrier(BlockWord word, int predicate) {
  Fiber& fiber = self();
  Block& block = *fiber.in;
  if (block.barrier_arrived > 0 && block.barrier_word != word) fail("__syncthreads of different kinds meet");
  block.barrier_word = word;
  block.barrier_any |= predicate != 0;
  if (++block.barrier_arrived == block.alive) {
    finish_block_barrier(block);
  } else {
    block.barrier_waiting.push_back(&fiber);
    block_on({"waits at __syncthreads"});
  }
  return block.barrier_result;
}

void named_barrier(int id, int threads, bool waits) {
  Fiber& fiber = self();
  Block& block = *fiber.in;
  if (id < 1 || id >= kNamedBarriers) fail("bar: barrier " + std::to_string(id) + " is none of 1 to 15");
  if (threads <= 0 || threads % kWarp != 0) fail("bar: " + std::to_string(threads) + " threads are no whole warps");
  NamedBarrier& barrier = block.named[id];
  if (barrier.arrived > 0 && barrier.threads != threads) {
    fail("bar: barrier " + std::to_string(id) + " is used with " + std::to_string(threads) + " and with " +
         std::to_string(barrier.threads) + " threads");
  }
  if (barrier.who[static_cast<std::size_t>(fiber.number)]) {
    fail("bar: the thread comes to barrier " + std::to_string(id) + " again before the others have");
  }
  barrier.threads = threads;
  barrier.who[static_cast<std::size_t>(fiber.number)] = true;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    barrier.who.reset();
    wake_all(barrier.waiting);
  } else if (waits) {
    barrier.waiting.push_back(&fiber);
    block_on({"waits at barrier %llu of %llu threads", static_cast<unsigned>(id), static_cast<unsigned>(threads)});
  }
}

int cluster_alive() {
  int alive = 0;
  for (const Block& block : launch->blocks) alive += block.alive;
  return alive;
}

void cluster_barrier() {
  if (++launch->cluster_arrived == cluster_alive()) {
    launch->cluster_arrived = 0;
    wake_all(launch->cluster_waiting);
  } else {
    launch->cluster_waiting.push_back(&self());
    block_on({"waits at the barrier of the cluster"});
  }
}

Warpgroup& own_warpgroup() { return self().in->warpgroups[static_cast<std::size_t>(self().number / kWarpgroup)]; }

void set_registers(int registers, bool grows) {
  if (registers < 24 || registers > 256 || registers % 8 != 0) fail("setmaxnreg of " + std::to_string(registers));
  if (!meet_warpgroup(grows ? "setmaxnreg.inc" : "setmaxnreg.dec", registers)) return;
  Block& block = *self().in;
  Warpgroup& group = own_warpgroup();
  if (grows ? registers < group.registers : registers > group.registers) {
    fail("setmaxnreg from " + std::to_string(group.registers) + " to " + std::to_string(registers));
  }
  const int taken = (registers - group.registers) * kWarpgroup;
  while (taken > block.spare_registers) {
    block_on({kWaitsForRegisters, static_cast<unsigned>(taken), static_cast<unsigned>(block.spare_registers)});
  }
  block.spare_registers -= taken;
  group.registers = registers;
  if (taken < 0) {
    for (Fiber& fiber : block.fibers) {
      if (fiber.wait.what == kWaitsForRegisters) wake(fiber);
    }
  }
  release_warpgroup();
}

}  // namespace

bool meet_warpgroup(const char* word, long long detail) {
  Fiber& fiber = self();
  Warpgroup& group = own_warpgroup();
  if (group.arrived > 0 && (std::string(group.word) != word || group.detail != detail)) {
    fail(std::string(word) + " (" + std::to_string(detail) + ") while others of the warpgroup are at " + group.word +
         " (" + std::to_string(group.detail) + ")");
  }
  group.word = word;
  group.detail = detail;
  if (++group.arrived == kWarpgroup) return true;
  group.waiting.push_back(&fiber);
  block_on({word});
  return false;
}

void release_warpgroup() {
  Warpgroup& group = own_warpgroup();
  group.arrived = 0;
  wake_all(group.waiting);
}

void leave_barriers(Fiber& fiber) {
  Block& block = *fiber.in;
  if (block.barrier_arrived > 0 && block.barrier_arrived == block.alive) finish_block_barrier(block);
  if (launch->cluster_arrived > 0 && launch->cluster_arrived == cluster_alive()) {
    launch->cluster_arrived = 0;
    wake_all(launch->cluster_waiting);
  }
}

void add_barriers(Engine& table) {
  table.block_barrier = block_barrier;
  table.named_barrier = named_barrier;
  table.cluster_barrier = cluster_barrier;
  table.set_registers = set_registers;
}

}  // namespace fovea::emulated
