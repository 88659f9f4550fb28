// SPDX-License-Identifier: Apache-2.0
// Between a kernel, compiled for the host, and the engine that runs its threads. Read by both; no system includes.
// Shared-memory addresses are 32-bit numbers, as in PTX: bits 24 and up name a block of the cluster by its rank plus
// one, 0 means the own block. As on a GPU a thread's own addresses carry these bits too, but in the first block.
#pragma once

namespace fovea::emulated {

struct Index {
  unsigned x, y, z;
};

/// What a kernel sees of the thread that runs.
struct Thread {
  Index thread, block, block_size, grid_size;
  char* shared;  // host address of shared address 0
  unsigned shared_begin, shared_end;
  unsigned dynamic_shared;  // shared address of the dynamic part, before its own alignment
  unsigned rank;            // of the block in its cluster
};

inline unsigned own_rank_bits(const Thread& thread) { return thread.rank > 0 ? (thread.rank + 1) << 24 : 0; }

/// Words that the lanes of a warp execute together.
enum class WarpWord : int {
  kSyncwarp,
  kShuffle,
  kVote,
  kLdmatrix,
  kLdmatrixTransposed,
  kStmatrix,
  kMmaBf16K16,
  kMmaF16K16,
  kMmaF16K8,
  kMmaTf32K8,
  kMmaE4m3K32,
};

/// One lane's operands of a warp's word.
struct ShuffleWords {
  unsigned value;
  int source;  // lane, or -1: the own value
  unsigned result;
};
struct VoteWords {
  bool predicate;
  unsigned ballot;
};
struct MatrixWords {
  unsigned (&registers)[4];
  unsigned address;
};
struct MmaWords {
  float (&c)[4];
  unsigned a[4], b[2];
};

/// What the bits of a product's operands are.
enum class Number : int { kF16, kBf16, kTf32, kE4m3 };

/// One lane's operands of a product of its warpgroup. a_registers null: a by descriptor.
struct WgmmaWords {
  float* d;
  int n;
  Number number;
  bool accumulates, a_is_mn_major, b_is_mn_major;
  const unsigned* a_registers;
  unsigned long long a, b;
};

struct TensorCopy {
  const void* map;
  int rank;
  int at[5];
  unsigned shared, barrier;
  unsigned blocks;  // multicast to these ranks; 0: the own block
};

enum class BlockWord : int { kBarrier, kOr };

/// Functions block the calling thread until the word is done.
struct Engine {
  Thread* current;
  void (*meet)(WarpWord word, unsigned mask, void* words);
  int (*block_barrier)(BlockWord word, int predicate);
  void (*named_barrier)(int id, int threads, bool waits);
  void (*cluster_barrier)();
  char* (*generic)(unsigned shared, unsigned bytes);
  unsigned (*map_rank)(unsigned shared, unsigned rank);
  void (*copy_async)(unsigned shared, const void* global, int bytes, int source_bytes);
  void (*commit_copies)();
  void (*wait_copies)(int pending);
  void (*mbarrier_init)(unsigned barrier, int arrivals);
  void (*mbarrier_arrive)(unsigned barrier, int expected_bytes);
  void (*mbarrier_wait)(unsigned barrier, unsigned parity);
  void (*tensor_load)(const TensorCopy& copy);
  void (*tensor_store)(const TensorCopy& copy);
  void (*commit_stores)();
  void (*wait_stores)(int pending);
  void (*wgmma_fence)();
  void (*wgmma)(const WgmmaWords& words);
  void (*wgmma_commit)();
  void (*wgmma_wait)(int pending);
  void (*set_registers)(int registers, bool grows);
  void (*pause)();  // lets other threads run
  void (*fail)(const char* what);
};

/// What a compiled kernel tells about itself.
struct KernelDescription {
  void (*bind)(Engine* engine);
  void (*run)(void** parameters);  // the kernel's body, on one thread
  const int* parameter_bytes;
  int num_parameters;
  int static_shared_bytes;
  int threads, min_blocks_per_sm;  // __launch_bounds__
};

}  // namespace fovea::emulated
