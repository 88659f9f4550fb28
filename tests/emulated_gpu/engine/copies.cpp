// SPDX-License-Identifier: Apache-2.0
// Copies beside the arithmetic: cp.async, and boxes of tensors by the copy engine.
// docs.nvidia.com/cuda/parallel-thread-execution, "cp.async", "cp.async.bulk.tensor", "tensor-swizzling-modes".
// Until a copy has landed its place in shared memory holds garbage.
#include <cstring>

#include "tests/emulated_gpu/engine/launch.h"

namespace fovea::emulated {
namespace {

// ---- cp.async

void land(Block& block, const AsyncCopy& copy) {
  char* to = shared_at(block, copy.shared, static_cast<unsigned>(copy.bytes));
  std::memcpy(to, copy.global, static_cast<std::size_t>(copy.source_bytes));
  std::memset(to + copy.source_bytes, 0, static_cast<std::size_t>(copy.bytes - copy.source_bytes));
}

void copy_async(unsigned shared, const void* global, int bytes, int source_bytes) {
  Fiber& fiber = self();
  if (shared % static_cast<unsigned>(bytes) != 0)
    fail("cp.async of " + std::to_string(bytes) + " bytes to " + hex(shared));
  if (reinterpret_cast<std::uintptr_t>(global) % static_cast<std::uintptr_t>(bytes) != 0) {
    fail("cp.async of " + std::to_string(bytes) + " bytes from " + hex(reinterpret_cast<std::uintptr_t>(global)));
  }
  if (source_bytes < 0 || source_bytes > bytes) fail("cp.async that reads " + std::to_string(source_bytes) + " bytes");
  const AsyncCopy copy = {shared, global, bytes, source_bytes};
  std::memset(shared_at(*fiber.in, shared, static_cast<unsigned>(bytes)), launch->options.garbage,
              static_cast<std::size_t>(bytes));
  const bool now = launch->options.asynchrony == Asynchrony::kEarly ||
                   (launch->options.asynchrony == Asynchrony::kRandom && launch->random() % 2 == 0);
  if (now) {
    land(*fiber.in, copy);
  } else {
    fiber.copies.push_back(copy);
  }
}

void commit_copies() {
  self().copy_groups.push_back(std::move(self().copies));
  self().copies.clear();
}

void wait_copies(int pending) { finish_copies(self(), static_cast<std::size_t>(pending)); }

// ---- tensors

TensorMapFields fields_of(const TensorCopy& copy) {
  TensorMapFields map;
  std::memcpy(&map, copy.map, sizeof map);
  if (map.magic != TensorMapFields::kMagic) fail("what is passed as a tensor map is none");
  if (reinterpret_cast<std::uintptr_t>(copy.map) % 64 != 0) fail("a tensor map lies at no multiple of 64");
  if (map.rank != copy.rank) {
    fail("a tensor map of rank " + std::to_string(map.rank) + " used with " + std::to_string(copy.rank) +
         " coordinates");
  }
  if (copy.shared % 128 != 0) fail("a tensor copy at the shared address " + hex(copy.shared) + ", no multiple of 128");
  return map;
}

int box_bytes(const TensorMapFields& map) {
  int bytes = map.element_bytes;
  for (int d = 0; d < map.rank; ++d) bytes *= map.box[d];
  return bytes;
}

/// 16-byte chunks trade places inside the swizzle's span, by the rows above them: all by address.
unsigned swizzled(unsigned address, int swizzle) {
  const unsigned mask = (1u << swizzle) - 1;
  return address ^ ((address >> 7 & mask) << 4);
}

/// To nearest, ties to even, as an H200 was found to do; its manual does not say.
void round_to_tf32(char* at) {
  std::uint32_t bits;
  std::memcpy(&bits, at, 4);
  const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
  bits = (is_finite ? bits + 0xfffu + (bits >> 13 & 1u) : bits) & 0xffffe000u;
  std::memcpy(at, &bits, 4);
}

/// Calls move(shared address, global address or null if outside, bytes) for every row of up to 16 bytes of the box.
template <typename Move>
void for_each_chunk(const TensorMapFields& map, const TensorCopy& copy, Move move) {
  const int row_bytes = map.box[0] * map.element_bytes;
  const int per_chunk = 16 / map.element_bytes;
  int rows = 1;
  for (int d = 1; d < map.rank; ++d) rows *= map.box[d];
  for (int row = 0; row < rows; ++row) {
    std::uint64_t from = map.address;
    bool exists = true;
    for (int d = 1, left = row; d < map.rank; left /= map.box[d], ++d) {
      const std::int64_t at = copy.at[d] + left % map.box[d];
      exists = exists && at >= 0 && at <= map.last[d];
      from += static_cast<std::uint64_t>(at) * map.stride_bytes[d];
    }
    for (int byte = 0; byte < row_bytes; byte += 16) {
      const std::int64_t first = copy.at[0] + byte / map.element_bytes;
      const unsigned shared = swizzled(copy.shared + static_cast<unsigned>(row * row_bytes + byte), map.swizzle);
      for (int i = 0; i < per_chunk; ++i) {
        const std::int64_t x = first + i;
        const bool inside = exists && x >= 0 && x <= map.last[0];
        move(shared + static_cast<unsigned>(i * map.element_bytes),
             inside ? reinterpret_cast<char*>(from + static_cast<std::uint64_t>(x) * map.element_bytes) : nullptr,
             map.element_bytes);
      }
    }
  }
}

void check_room(Block& block, const TensorMapFields& map, const TensorCopy& copy) {
  shared_at(block, copy.shared, static_cast<unsigned>(box_bytes(map)));
}

void land(const PendingLoad& load) {
  for (Block& block : launch->blocks) {
    const bool comes_here = load.copy.blocks == 0 ? load.from == &block : (load.copy.blocks >> block.rank & 1) != 0;
    if (!comes_here) continue;
    if (block.alive == 0) fail("a tensor copy lands in a block that has ended");
    check_room(block, load.map, load.copy);
    char* shared = block.fibers.front().shared;
    for_each_chunk(load.map, load.copy, [&](unsigned to, const char* from, int bytes) {
      if (from) {
        std::memcpy(shared + to, from, static_cast<std::size_t>(bytes));
        if (load.map.rounds_to_tf32) round_to_tf32(shared + to);
      } else {
        std::memset(shared + to, 0, static_cast<std::size_t>(bytes));
      }
    });
    complete_bytes(block, load.copy.barrier, box_bytes(load.map));
  }
}

/// With addresses of the own block, which a multicast takes as offsets in others.
TensorCopy own_copy(const TensorCopy& copy) {
  TensorCopy own = copy;
  own.shared = own_offset(*self().in, copy.shared);
  own.barrier = own_offset(*self().in, copy.barrier);
  return own;
}

void tensor_load(const TensorCopy& given) {
  const TensorCopy copy = own_copy(given);
  const PendingLoad load = {fields_of(copy), copy, self().in};
  if (copy.blocks >> launch->blocks.size() != 0) fail("a multicast to blocks that the cluster does not have");
  for (Block& block : launch->blocks) {
    const bool comes_here = copy.blocks == 0 ? load.from == &block : (copy.blocks >> block.rank & 1) != 0;
    if (!comes_here) continue;
    check_room(block, load.map, copy);
    std::memset(block.fibers.front().shared + copy.shared, launch->options.garbage,
                static_cast<std::size_t>(box_bytes(load.map)));
  }
  if (launch->options.asynchrony == Asynchrony::kEarly) {
    land(load);
  } else {
    launch->loads.push_back(load);
  }
}

void store_box(Block& block, const TensorStore& store) {
  const char* shared = block.fibers.front().shared;
  for_each_chunk(store.map, store.copy, [&](unsigned from, char* to, int bytes) {
    if (to) std::memcpy(to, shared + from, static_cast<std::size_t>(bytes));
  });
}

void tensor_store(const TensorCopy& given) {
  Fiber& fiber = self();
  const TensorCopy copy = own_copy(given);
  const TensorStore store = {fields_of(copy), copy};
  check_room(*fiber.in, store.map, copy);
  if (launch->options.asynchrony == Asynchrony::kEarly) store_box(*fiber.in, store);
  fiber.stores.push_back(store);
}

void commit_stores() {
  self().store_groups.push_back(std::move(self().stores));
  self().stores.clear();
}

void wait_stores(int pending) { finish_stores(self(), static_cast<std::size_t>(pending)); }

char* generic(unsigned shared, unsigned bytes) {
  if (shared % bytes != 0)
    fail("an access of " + std::to_string(bytes) + " bytes at the shared address " + hex(shared));
  return shared_at(*self().in, shared, bytes);
}

unsigned map_rank(unsigned shared, unsigned rank) {
  if (rank >= launch->blocks.size()) fail("mapa to block " + std::to_string(rank) + " of the cluster");
  return offset_of_address(shared) | (rank + 1) << 24;
}

}  // namespace

void finish_copies(Fiber& fiber, std::size_t pending_groups) {
  while (fiber.copy_groups.size() > pending_groups) {
    for (const AsyncCopy& copy : fiber.copy_groups.front()) land(*fiber.in, copy);
    fiber.copy_groups.erase(fiber.copy_groups.begin());
  }
}

void finish_stores(Fiber& fiber, std::size_t pending_groups) {
  while (fiber.store_groups.size() > pending_groups) {
    for (const TensorStore& store : fiber.store_groups.front()) {
      if (launch->options.asynchrony != Asynchrony::kEarly) store_box(*fiber.in, store);
    }
    fiber.store_groups.erase(fiber.store_groups.begin());
  }
}

bool land_a_load() {
  auto& loads = launch->loads;
  if (loads.empty()) return false;
  const bool any = launch->options.seed != 0 || launch->options.asynchrony == Asynchrony::kRandom;
  const std::size_t chosen = any ? launch->random() % loads.size() : 0;
  const PendingLoad load = loads[chosen];
  loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(chosen));
  land(load);
  return true;
}

void add_copies(Engine& table) {
  table.generic = generic;
  table.map_rank = map_rank;
  table.copy_async = copy_async;
  table.commit_copies = commit_copies;
  table.wait_copies = wait_copies;
  table.tensor_load = tensor_load;
  table.tensor_store = tensor_store;
  table.commit_stores = commit_stores;
  table.wait_stores = wait_stores;
}

}  // namespace fovea::emulated
