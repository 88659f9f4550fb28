// SPDX-License-Identifier: Apache-2.0
// Barriers in shared memory. docs.nvidia.com/cuda/parallel-thread-execution, "mbarrier".
// The 64 bits: 63 zero (memory that nobody wrote has ones), 62 the phase, 42 to 61 arrivals of a phase, 22 to 41
// arrivals that the phase still lacks, 0 to 21 bytes that it still lacks, with a sign.
#include <cstring>

#include "tests/emulated_gpu/engine/launch.h"

namespace fovea::emulated {
namespace {

constexpr int kMostArrivals = (1 << 20) - 1, kMostBytes = (1 << 20) - 1;

struct Mbarrier {
  unsigned phase;
  int arrivals, pending, bytes;
};

char* place_of(Block& own, unsigned barrier) {
  if (barrier % 8 != 0) fail("mbarrier at " + hex(barrier) + ", no multiple of 8");
  return shared_at(own, barrier, 8);
}

Mbarrier read(Block& own, unsigned barrier) {
  std::uint64_t bits;
  std::memcpy(&bits, place_of(own, barrier), 8);
  if (bits >> 63) fail("mbarrier at " + hex(barrier) + " was not initialised, or was written over");
  const int bytes = static_cast<int>(bits & 0x3fffff);
  return {static_cast<unsigned>(bits >> 62 & 1), static_cast<int>(bits >> 42 & 0xfffff),
          static_cast<int>(bits >> 22 & 0xfffff), bytes >= 1 << 21 ? bytes - (1 << 22) : bytes};
}

void write(Block& own, unsigned barrier, const Mbarrier& b) {
  const std::uint64_t bits = static_cast<std::uint64_t>(b.phase) << 62 | static_cast<std::uint64_t>(b.arrivals) << 42 |
                             static_cast<std::uint64_t>(b.pending) << 22 | (static_cast<unsigned>(b.bytes) & 0x3fffffu);
  std::memcpy(place_of(own, barrier), &bits, 8);
}

/// Stores the barrier; ends its phase if nothing lacks, and wakes those who waited for that.
void settle(Block& own, unsigned barrier, Mbarrier b) {
  Block& block = block_of_address(own, barrier);
  const bool ends = b.pending == 0 && b.bytes == 0;
  if (ends) {
    b.phase ^= 1;
    b.pending = b.arrivals;
  }
  write(own, barrier, b);
  if (!ends) return;
  for (Fiber& fiber : block.fibers) {
    const Wait& w = fiber.wait;
    if (w.what == kWaitsAtMbarrier && w.first == offset_of_address(barrier) && w.second != b.phase) wake(fiber);
  }
}

void add_bytes(Mbarrier& b, unsigned barrier, int bytes) {
  b.bytes += bytes;
  if (b.bytes > kMostBytes || b.bytes < -kMostBytes)
    fail("mbarrier at " + hex(barrier) + ": its count of bytes overflows");
}

void init(unsigned barrier, int arrivals) {
  Block& own = *self().in;
  if (arrivals < 1 || arrivals > kMostArrivals) fail("mbarrier.init with " + std::to_string(arrivals) + " arrivals");
  std::uint64_t bits, nothing;
  std::memcpy(&bits, place_of(own, barrier), 8);
  std::memset(&nothing, launch->options.garbage, 8);
  if (bits != nothing) fail("mbarrier.init at " + hex(barrier) + ", where something is already");
  write(own, barrier, {0, arrivals, arrivals, 0});
}

void arrive(unsigned barrier, int expected_bytes) {
  Block& own = *self().in;
  Mbarrier b = read(own, barrier);
  if (expected_bytes < 0) fail("mbarrier.arrive.expect_tx with " + std::to_string(expected_bytes) + " bytes");
  add_bytes(b, barrier, expected_bytes);
  if (b.pending == 0) fail("mbarrier at " + hex(barrier) + ": one arrival too many in a phase");
  --b.pending;
  settle(own, barrier, b);
}

void wait(unsigned barrier, unsigned parity) {
  Block& own = *self().in;
  if (parity > 1) fail("mbarrier.try_wait for the parity " + std::to_string(parity));
  barrier = own_offset(own, barrier);
  while (read(own, barrier).phase == parity) block_on({kWaitsAtMbarrier, barrier, parity});
}

}  // namespace

void complete_bytes(Block& block, unsigned barrier, int bytes) {
  Mbarrier b = read(block, barrier);
  add_bytes(b, barrier, -bytes);
  settle(block, barrier, b);
}

void add_mbarriers(Engine& table) {
  table.mbarrier_init = init;
  table.mbarrier_arrive = arrive;
  table.mbarrier_wait = wait;
}

}  // namespace fovea::emulated
