// SPDX-License-Identifier: Apache-2.0
// One launch of a kernel: its blocks, their threads, and what they wait for. Clusters run one after another; the blocks
// of one run together. Threads change over only where they wait.
// Copies and products that CUDA calls asynchronous end as late as waits allow, or as early, or at random (Asynchrony):
// a wait that is missing shows as NaN, one that is wrong as a deadlock.
#pragma once

#include <bitset>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "tests/emulated_gpu/device/abi.h"
#include "tests/emulated_gpu/engine/context.h"
#include "tests/emulated_gpu/engine/tensor_map.h"

namespace fovea::emulated {

enum class Asynchrony { kLate, kEarly, kRandom };

/// What memory that nobody has written consists of, no mbarrier either way. A kernel that does a tile again when its
/// result is not finite hides what a NaN would show.
inline constexpr int kNaNByte = 0xff;    // in every floating-point type a NaN
inline constexpr int kLargeByte = 0xf7;  // in every floating-point type a large number

struct EngineOptions {
  Asynchrony asynchrony = Asynchrony::kLate;
  unsigned seed = 0;  // 0: threads run in their order
  int garbage = kNaNByte;
};

struct LaunchShape {
  std::string name;
  Index grid, block;
  unsigned cluster = 1;
  int dynamic_shared_bytes = 0;
  int registers = 255;  // per thread at the start
};

/// Runs it to the end; the text says what went wrong, empty if nothing did.
std::string run_launch(const EngineOptions& options, const LaunchShape& shape, const KernelDescription& kernel,
                       void** parameters);

// ---- inside

inline constexpr int kWarp = 32;
inline constexpr int kWarpgroup = 128;
inline constexpr int kMaxThreads = 1024;
inline constexpr int kNamedBarriers = 16;

struct Block;
struct Warp;

/// What a thread waits for, for the report of a deadlock.
struct Wait {
  const char* what = nullptr;
  unsigned long long first = 0, second = 0;
  bool operator==(const Wait&) const = default;
};

inline constexpr const char* kWaitsAtMbarrier = "waits at the mbarrier 0x%llx for the phase of parity %llu";
inline constexpr const char* kWaitsForRegisters = "waits for %llu registers, %llu are spare";

struct AsyncCopy {
  unsigned shared;
  const void* global;
  int bytes, source_bytes;
};

struct Product {
  WgmmaWords words;
  int group;
};
/// A d that products still write to; its registers hold NaN meanwhile.
struct Accumulator {
  float* d;
  int n;
  int products;
  std::vector<float> sums;
};

struct TensorStore {
  TensorMapFields map;
  TensorCopy copy;
};

struct Fiber : Thread {
  Context context;
  Block* in = nullptr;
  Warp* warp = nullptr;
  int number = 0, lane = 0;
  bool has_ended = false, is_ready = false;
  Wait wait;
  std::vector<std::vector<AsyncCopy>> copy_groups;  // committed
  std::vector<AsyncCopy> copies;
  std::vector<std::vector<TensorStore>> store_groups;
  std::vector<TensorStore> stores;
  bool is_fenced = false;  // wgmma.fence since the last wait
  int product_groups = 0;  // committed so far
  std::vector<Product> products;
  std::vector<Accumulator> accumulators;
};

struct Meeting {
  bool is_open = false;
  WarpWord word;
  unsigned mask, arrived;
  void* words[kWarp];
};
struct Warp {
  Fiber* lanes[kWarp] = {};
  unsigned alive = 0;
  std::vector<Meeting> meetings;
};

struct NamedBarrier {
  int threads = 0, arrived = 0;
  std::bitset<kMaxThreads> who;
  std::vector<Fiber*> waiting;
};
struct Warpgroup {
  int arrived = 0;
  const char* word = nullptr;
  long long detail = 0;
  std::vector<Fiber*> waiting;
  int registers = 0;
};

struct Block {
  unsigned number = 0, rank = 0;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<Warpgroup> warpgroups;
  int alive = 0;
  int barrier_arrived = 0;
  bool barrier_any = false, barrier_result = false;
  BlockWord barrier_word = BlockWord::kBarrier;
  std::vector<Fiber*> barrier_waiting;
  NamedBarrier named[kNamedBarriers];
  int spare_registers = 0;
  char* memory = nullptr;  // of shared memory; what lies behind its end is unmapped
};

/// A tensor copy on its way to shared memory.
struct PendingLoad {
  TensorMapFields map;
  TensorCopy copy;
  Block* from;
};

struct Launch {
  EngineOptions options;
  LaunchShape shape;
  const KernelDescription* kernel;
  void** parameters;
  std::vector<Block> blocks;  // of the cluster that runs
  std::deque<Fiber*> ready;
  std::deque<PendingLoad> loads;
  std::deque<Fiber*> product_waits;  // whose warpgroups are all at a wait
  int cluster_arrived = 0;
  std::vector<Fiber*> cluster_waiting;
  std::mt19937 random;
  Context main;
  std::string failure;
};

/// Of the launch that runs; one at a time.
extern Launch* launch;
extern Engine engine;

inline Fiber& self() { return *static_cast<Fiber*>(engine.current); }
/// Ends the launch with this text and where it happened; does not return.
[[noreturn]] void fail(const std::string& text);
/// Lets others run until somebody wakes this thread.
void block_on(const Wait& wait);
void wake(Fiber& fiber);
void wake_all(std::vector<Fiber*>& fibers);
std::string hex(unsigned long long number);

/// Shared memory at this address of the calling thread's block or another of its cluster; fails outside.
char* shared_at(Block& own, unsigned shared, unsigned bytes);
Block& block_of_address(Block& own, unsigned shared);
inline unsigned offset_of_address(unsigned shared) { return shared & 0xffffffu; }
/// The same, of an address that must be the block's own.
unsigned own_offset(Block& own, unsigned shared);

// A thread has ended: what waited only for it goes on.
void leave_warp_words(Fiber& fiber);
void leave_barriers(Fiber& fiber);
void check_nothing_in_flight(Fiber& fiber);

/// Lands one tensor copy, any if at random; false if none is on its way.
bool land_a_load();
/// Lets one warpgroup have its products; false if none waits.
bool end_a_product_wait();
void finish_copies(Fiber& fiber, std::size_t pending_groups);
void finish_stores(Fiber& fiber, std::size_t pending_groups);
void complete_bytes(Block& block, unsigned barrier, int bytes);

/// Waits until all 128 threads of the warpgroup are at the same word. True for the last one, which then does the work
/// and calls release_warpgroup; the others return after that.
bool meet_warpgroup(const char* word, long long detail);
void release_warpgroup();

// The engine's functions, by what they are about.
void add_warp_words(Engine& table);
void add_barriers(Engine& table);
void add_mbarriers(Engine& table);
void add_copies(Engine& table);
void add_products(Engine& table);

}  // namespace fovea::emulated
