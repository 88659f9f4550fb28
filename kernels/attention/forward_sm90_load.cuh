// SPDX-License-Identifier: Apache-2.0
// The half of attention_forward_sm90 that feeds it: shared memory and its rings, which tiles a block takes, and the
// copies of q, k and v. A warp finds work: its first tile by the block's number, further ones from a counter in global
// memory, longest first. A thread each copies q, k and v, so that no ring waits for another.
#pragma once

#include "contract/tensor_maps.h"
#include "kernels/block/forward_work.cuh"
#include "kernels/block/merge_splits.cuh"
#include "kernels/block/warp_reduce.cuh"
#include "kernels/pipeline/ring.cuh"
#include "kernels/ptx/griddepcontrol.cuh"
#include "kernels/ptx/tma.cuh"

namespace fovea {

/// What loading and using warps share: shared memory, rings, and the tiles of this block in order.
template <AttentionConfig config>
struct SharedSm90 {
  using Work = ForwardWork<config.packs_heads>;
  static constexpr int kWarpgroups = config.warps / 4 - 1;  // that use
  static constexpr int kQueryPanels = panels_of(config.head_dim_qk);
  static constexpr int kValuePanels = panels_of(config.head_dim_v);
  static constexpr int kQueryBytes = config.block_q * kQueryPanels * 128;
  static constexpr int kKeyBytes = config.block_k * kQueryPanels * 128;
  static constexpr int kValueBytes = config.block_k * kValuePanels * 128;
  static constexpr int kOutput = config.q_stages * kQueryBytes + config.stages * (kKeyBytes + kValueBytes);
  static constexpr int kOutputBytes = config.copies_o ? 16 * kValuePanels * 128 : 0;  // of a warp
  static constexpr int kBarriers = kOutput + 4 * kWarpgroups * kOutputBytes;
  static_assert(config.block_q == 64 * kWarpgroups, "a warpgroup owns 64 rows");
  static_assert(config.block_k % 16 == 0 && config.head_dim_qk % 16 == 0 && config.head_dim_v % 16 == 0,
                "products take 16 of each");
  static_assert(16 * (config.q_stages + 2 * config.stages + 4) + 16 <= kForwardSm90BarrierBytes, "barriers fit");
  static_assert(4 * sizeof(Work) <= kForwardSm90TileBytes, "tiles fit");
  using QueryRing = Ring<config.q_stages>;
  using KeyRing = Ring<config.stages>;

  static constexpr int kWorks = 4;        // the tile in use and those known ahead
  static constexpr int kShortBlocks = 4;  // of keys: ahead of tiles as short three are taken. Else the next one, when
  static constexpr int kEarlyBlocks = 2;  // so few blocks of keys of a tile are left to load, lest others lack it
  using WorkRing = Ring<kWorks>;

  const AttentionArgs& args;
  const ForwardSm90Args& more;
  unsigned base;

  __device__ unsigned query(int slot) const { return base + slot * kQueryBytes; }
  __device__ unsigned key(int slot) const { return base + config.q_stages * kQueryBytes + slot * kKeyBytes; }
  __device__ unsigned value(int slot) const { return key(config.stages) + slot * kValueBytes; }
  /// The 16 rows of o of a using warp.
  __device__ unsigned output(int warp) const { return base + kOutput + warp * kOutputBytes; }
  __device__ QueryRing queries() const { return {base + kBarriers}; }
  __device__ KeyRing keys() const { return {base + kBarriers + 16 * config.q_stages}; }
  __device__ KeyRing values() const { return {base + kBarriers + 16 * (config.q_stages + config.stages)}; }
  __device__ WorkRing works() const { return {base + kBarriers + 16 * (config.q_stages + 2 * config.stages)}; }
  /// One phase per tile: when it is time for the next one.
  __device__ unsigned next_wanted() const { return works().barriers + 16 * kWorks; }
  /// Whether the first tile's first q and k were asked for before the block's first barrier.
  __device__ bool& has_begun() const { return *static_cast<bool*>(__cvta_shared_to_generic(next_wanted() + 8)); }
  __device__ Work& work(int slot) const {
    return static_cast<Work*>(__cvta_shared_to_generic(base + kBarriers + kForwardSm90BarrierBytes))[slot];
  }

  /// In the place of keys and values, when they have all been used.
  __device__ SharedPart<config> part() const {
    static_assert(!config.merges_in_cluster || SharedPart<config>::kBytes <= config.stages * (kKeyBytes + kValueBytes));
    return {key(0)};
  }
  /// The only tile of a block that merges in its cluster; its places in the ring are used for it and for the end.
  __device__ Work& merged() const { return work(kWorks - 1); }

  /// Waits for the block's next tile, which has rows and keys and stays until it is released; null after the last.
  __device__ const Work* wait_work(const RingPlace<kWorks>& at) const {
    works().wait_full(at);
    const Work* found = &work(at.slot());
    return found->rows > 0 ? found : nullptr;
  }
};

template <AttentionConfig config>
struct LoadSm90 {
  using Shared = SharedSm90<config>;
  using Work = typename Shared::Work;
  const Shared& shared;
  const ForwardSm90Args& more;

  /// The first key of the last block of keys; below keys.begin if there are none.
  __device__ static int last_block(const Work& work) {
    return work.keys.begin + (ceil_div(work.keys.size(), config.block_k) - 1) * config.block_k;
  }

  /// Into a buffer that is empty; the same below.
  __device__ void load_query(const Work& work, const RingPlace<config.q_stages>& at) const {
    const auto ring = shared.queries();
    mbarrier_arrive_expect_tx(ring.full(at.slot()), more.tile_rows * Shared::kQueryPanels * 128);
#pragma unroll
    for (int panel = 0; panel < Shared::kQueryPanels; ++panel) {
      cp_async_bulk_tensor_5d(
          shared.query(at.slot()) + panel * config.block_q * 128, more.q, ring.full(at.slot()),
          {panel * kPanelColumns, 0, static_cast<int>(work.sequence.q_first) + work.query(0),
           config.packs_heads ? work.head_kv : work.head, shared.args.query.cu_seqlens ? 0 : work.batch});
    }
  }

  template <int panels>
  __device__ static void load_block(const Ring<config.stages>& ring, const RingPlace<config.stages>& at, unsigned to,
                                    const TensorMap& map, const Work& work, int key, int batch) {
    mbarrier_arrive_expect_tx(ring.full(at.slot()), panels * config.block_k * 128);
#pragma unroll
    for (int panel = 0; panel < panels; ++panel) {
      cp_async_bulk_tensor_4d(
          to + panel * config.block_k * 128, map, ring.full(at.slot()),
          {panel * kPanelColumns, static_cast<int>(work.sequence.k_first) + key, work.head_kv, batch, 0});
    }
  }

  __device__ void load_key(const Work& work, const RingPlace<config.stages>& at, int key) const {
    load_block<Shared::kQueryPanels>(shared.keys(), at, shared.key(at.slot()), more.k, work, key, key_batch(work));
  }

  /// One thread, before the block's first barrier: sets up the rings, finds the first tile, and copies what its first
  /// product needs. Instructions that are not in the cache yet are what takes time here, so that they are in one place.
  __device__ void begin(int users, int work_users) const {
    shared.queries().init(users);
    shared.keys().init(users);
    shared.values().init(users);
    shared.works().init(work_users);
    mbarrier_init(shared.next_wanted(), 1);
    fence_mbarrier_init();
    griddepcontrol_wait();  // until the kernel ahead in the stream has ended, nothing but parameters is read
    Work& work = shared.work(0);
    work = find_tile(blockIdx.x);
    const bool has_begun = work.rows > 0 && !work.keys.empty();
    shared.has_begun() = has_begun;
    if (has_begun) {
      load_key(work, {}, last_block(work));
      load_query(work, {});
      mbarrier_arrive(shared.works().full(0));
    }
    if constexpr (config.merges_in_cluster) shared.merged() = work;
  }
  /// One warp: what the others shall do next. It writes rows that see no key itself.
  __device__ void find_work() const {
    RingPlace<Shared::kWorks> at;
    const bool is_long = shared.args.kv.seqlen > Shared::kShortBlocks * config.block_k;
#pragma unroll 1
    for (unsigned tile = blockIdx.x; tile < more.num_tiles; tile = take_tile(tile)) {
      Work& work = shared.work(at.slot());
      const bool finds = threadIdx.x % 32 == 0 && tile != blockIdx.x;
      __syncwarp();  // all have read what was there
      if (finds) work = find_tile(tile);
      __syncwarp();
      if (work.rows <= 0) continue;
      if (work.keys.empty()) {
        store_nothing(work);
        __syncwarp();
        continue;
      }
      if (finds) mbarrier_arrive(shared.works().full(at.slot()));
      // No tile is taken before it is time for it.
      if (is_long) mbarrier_wait(shared.next_wanted(), at.count % 2);
      at.advance();
      shared.works().wait_empty(at);
    }
    __syncwarp();
    if (threadIdx.x % 32 == 0) {
      shared.work(at.slot()).rows = 0;
      mbarrier_arrive(shared.works().full(at.slot()));
    }
    if (more.tiles_taken && threadIdx.x % 32 == 0) leave_counters();
  }
  __device__ Work find_tile(unsigned tile) const {
    return find_forward_work<config>(shared.args, tile, more.tile_rows, PreparedDivision{more.divisors});
  }
  /// The next tile that no block has taken.
  __device__ unsigned take_tile(unsigned tile) const {
    if (!more.tiles_taken) return tile + gridDim.x;
    unsigned taken = 0;
    if (threadIdx.x % 32 == 0) taken = atomicAdd(more.tiles_taken, 1u);
    return gridDim.x + __shfl_sync(kWholeWarp, taken, 0);
  }
  /// The last block to find no more tiles leaves the counters as the next launch expects them.
  __device__ void leave_counters() const {
    __threadfence();
    if (atomicAdd(more.tiles_taken + 1, 1u) != gridDim.x - 1) return;
    more.tiles_taken[0] = 0;
    more.tiles_taken[1] = 0;
  }
  /// Zeros and an lse of -inf.
  __device__ void store_nothing(const Work& work) const {
    const AttentionArgs& args = shared.args;
#pragma unroll 1
    for (int row = 0; row < work.rows; ++row) {
      const float lse = -__int_as_float(0x7f800000);
      if constexpr (config.merges_in_cluster) {
        if (threadIdx.x % 32 == 0) shared.part().data(row)[SharedPart<config>::kLse] = lse;
      } else {
        if (threadIdx.x % 32 == 0) work.template store_lse<config>(args, row, lse);
      }
#pragma unroll 1
      for (int column = threadIdx.x % 32; column < args.head_dim_v; column += 32) {
        if constexpr (config.merges_in_cluster) {
          shared.part().data(row)[column] = 0.0f;
        } else if constexpr (config.is_split) {
          args.split.partial_o[work.partial_row(args, row) * args.head_dim_v + column] = 0.0f;
        } else {
          auto* o = static_cast<unsigned short*>(args.output.o) + work.output_offset(args.output, row);
          o[column] = 0;
        }
      }
    }
  }

  /// One thread each for q, k and v, so that no ring waits for another.
  __device__ void load_queries() const {
    RingPlace<Shared::kWorks> at;
    RingPlace<config.q_stages> q;
    bool has_begun = shared.has_begun();
#pragma unroll 1
    while (const Work* work = shared.wait_work(at)) {
      if (!has_begun) {
        shared.queries().wait_empty(q);
        load_query(*work, q);
      }
      has_begun = false;
      q.advance();
      leave(at);
    }
  }
  __device__ void load_keys() const {
    RingPlace<Shared::kWorks> at;
    RingPlace<config.stages> k;
    bool has_begun = shared.has_begun();
#pragma unroll 1
    while (const Work* work = shared.wait_work(at)) {
      const int wanted_at = min_of(last_block(*work), work->keys.begin + Shared::kEarlyBlocks * config.block_k);
#pragma unroll 1
      for (int key = last_block(*work); key >= work->keys.begin; key -= config.block_k) {
        if (key == wanted_at) mbarrier_arrive(shared.next_wanted());
        if (!has_begun) {
          if (at.count == 0 && key < last_block(*work)) wait_first_query(*work);
          shared.keys().wait_empty(k);
          load_key(*work, k, key);
        }
        has_begun = false;
        k.advance();
      }
      leave(at);
    }
  }
  __device__ void load_values() const {
    RingPlace<Shared::kWorks> at;
    RingPlace<config.stages> v;
#pragma unroll 1
    while (const Work* work = shared.wait_work(at)) {
      if (at.count == 0) wait_first_query(*work);
#pragma unroll 1
      for (int key = last_block(*work); key >= work->keys.begin; key -= config.block_k) {
        shared.values().wait_empty(v);
        load_block<Shared::kValuePanels>(shared.values(), v, shared.value(v.slot()), more.v, *work, key,
                                         key_batch(*work));
        v.advance();
      }
      leave(at);
    }
  }
  __device__ void leave(RingPlace<Shared::kWorks>& at) const {
    mbarrier_arrive(shared.works().empty(at.slot()));
    at.advance();
  }
  /// When all blocks begin, what their first products need shall not wait behind the rest: the block's first v and its
  /// second k are asked for when its first q is there. Not where keys are split, since they are nearly all there is to
  /// read; nor with one block of keys, where the q of a next tile may come before its v and end the barrier's next
  /// phase.
  __device__ void wait_first_query(const Work& work) const {
    if (!config.is_split && last_block(work) > work.keys.begin) shared.queries().wait_full({});
  }
  /// Packed tensors have no dimension of sequences.
  __device__ int key_batch(const Work& work) const { return shared.args.kv.cu_seqlens ? 0 : work.batch; }
};

}  // namespace fovea
