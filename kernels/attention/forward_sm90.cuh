// SPDX-License-Identifier: Apache-2.0
// Attention forward by warpgroup products and bulk copies (arXiv 2407.08608): sm_90a only.
// Persistent blocks. One warpgroup loads (forward_sm90_load.cuh): q, k and v arrive in rings of shared buffers. Two to
// four warpgroups (one for short calls) each own 64 rows of the tile, with their o in registers. Keys are taken from
// the last block to the first. The products q k^T of block j and p v of block j + 1 are in flight together; the row
// maxima are taken under p v, the weights after it, while another warpgroup has the tensor cores. The pipeline runs on
// across tiles: the first q k^T of the next tile is issued with the last p v of this one, and o is stored under it.
// Rows are rescaled only where a maximum grows by more than 2^8 (see OnlineSoftmax). Blocks of keys that every row of a
// warpgroup sees are not masked.
// Non-finite values of v must not reach rows that may not see them, though 0 * inf is NaN: v past a sequence's length
// is overwritten with zeros in shared memory; a tile whose o is still non-finite is done again row by row.
// Registers per thread (NVRTC 13.0): 232 and 40 for those that load with two warpgroups, 160 and 32 with
// three, 112 and 32 with four, 216 and 40 for one beside another block, 128 and 32 beside two. Shared memory: d = 64
// 112 to 193 KiB, d = 128 193 KiB, d = 256 193 to 225 KiB; one block per SM, for short calls two up to d = 128, three
// up to d = 64.
#pragma once

#include "kernels/attention/forward_sm90_load.cuh"
#include "kernels/block/merge_splits.cuh"
#include "kernels/block/online_softmax.cuh"
#include "kernels/block/row_by_row.cuh"
#include "kernels/ptx/cluster.cuh"
#include "kernels/ptx/griddepcontrol.cuh"
#include "kernels/ptx/shared_address.cuh"
#include "kernels/ptx/stmatrix.cuh"
#include "kernels/ptx/warpgroup.cuh"
#include "kernels/ptx/wgmma_registers.cuh"
#include "kernels/tile/convert.cuh"
#include "kernels/tile/panel.cuh"

namespace fovea {

template <AttentionConfig config>
struct UseSm90 {
  using Shared = SharedSm90<config>;
  using Work = typename Shared::Work;
  using QueryPanels = Panels<config.block_q>;
  using KeyPanels = Panels<config.block_k>;
  static constexpr int kKeyTiles = config.block_k / 8;
  static constexpr int kValueTiles = config.head_dim_v / 8;
  static constexpr int kTurnBarrier = 1;   // and the next ones, one per warpgroup
  static constexpr int kCleanBarrier = 5;  // the same
  // Where rows see different keys, a warpgroup leaves out blocks of keys that none of its rows sees, and, of narrow
  // heads, the exponentials of half a block. Without turns the warpgroups exchange their rows from tile to tile, so
  // that each has as many keys; with turns that is slower.
  static constexpr bool kLeavesOut = config.mask != MaskKind::kNone;
  static constexpr bool kHalves = kLeavesOut && config.block_k == 128 && config.head_dim_v <= 64;
  static constexpr bool kRotates = kLeavesOut && !config.takes_turns;
  // When the next tile is found and waited for: without turns under this one's last product, which needs room in the
  // rings for what is left out there; with turns before it, or after it where blocks are left out in turns.
  static constexpr bool kBeginsBefore = config.takes_turns && !kLeavesOut;
  static constexpr bool kBeginsUnder = !config.takes_turns &&
                                       config.stages > ceil_div(config.block_q - 64, config.block_k);
  // One branch less in the loop over keys: 0.5 to 1 % there, but 1 to 2 % slower with masks and with narrow heads.
  static constexpr bool kPredicatesRelease = !kLeavesOut && config.head_dim_v > 64;
  using Products = TwoProducts<config.block_k, config.head_dim_v, config.dtype>;

  const Shared& shared;
  const AttentionArgs& args;
  const int warpgroup;
  const float scale_log2;
  RingPlace<Shared::kWorks> work_at;
  RingPlace<config.q_stages> q_at;
  RingPlace<config.stages> k_at;  // the values one block behind
  Products products;              // scores, weights and o while products use them
  float s[1][kKeyTiles][4];
  float o[1][kValueTiles][4];  // of a tile that is done
  int part;                    // of the tile, 64 rows
  bool is_half = false;        // of the tile's first block, this part sees only the first half
  OnlineSoftmax<1> softmax;
  KeyInterval seen[2];  // by this thread's two rows, whether they exist or not
  KeyInterval every;    // by every row of the warpgroup

  __device__ UseSm90(const Shared& shared, int warpgroup)
      : shared(shared),
        args(shared.args),
        warpgroup(warpgroup),
        part(warpgroup),
        // With softcap the scores arrive scaled. The smallest scale is positive, so that -inf * scale stays -inf.
        scale_log2(config.has_softcap ? 1.0f : fmaxf(fabsf(shared.args.softmax_scale) * kLog2E, 1.2e-38f)) {}

  __device__ int row(int r) const { return 64 * part + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4 + 8 * r; }
  __device__ int row_of_warp() const { return 64 * part + threadIdx.x / 32 % 4 * 16; }
  __device__ auto v_at() const { return k_at.previous(); }
  __device__ auto flat_s() -> float (&)[config.block_k / 2] {
    return reinterpret_cast<float(&)[config.block_k / 2]>(s);
  }
  __device__ auto flat_o() -> float (&)[config.head_dim_v / 2] {
    return reinterpret_cast<float(&)[config.head_dim_v / 2]>(o);
  }

  // ---- products

  __device__ void start_qk(int part) {
    wgmma_fence();
    const Descriptor q = QueryPanels::by_rows(shared.query(q_at.slot()) + part * 64 * 128);
    const Descriptor k = KeyPanels::by_rows(shared.key(k_at.slot()));
    constexpr int kSteps = config.head_dim_qk / 16;
    Descriptor q_steps[kSteps], k_steps[kSteps];
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      q_steps[i] = q + QueryPanels::depth(i);
      k_steps[i] = k + KeyPanels::depth(i);
    }
    products.start_scores(q_steps, k_steps);
    wgmma_commit_group();
  }
  __device__ void start_pv() {
    wgmma_fence();
    const Descriptor v = KeyPanels::by_columns(shared.value(v_at().slot()));
    Descriptor v_steps[config.block_k / 16];
#pragma unroll
    for (int i = 0; i < config.block_k / 16; ++i) v_steps[i] = v + KeyPanels::rows_depth(i);
    products.start_weighted(v_steps);
    wgmma_commit_group();
  }
  __device__ void wait_turn() const {
    if constexpr (config.takes_turns) bar_sync(kTurnBarrier + warpgroup, 256);
  }
  __device__ void pass_turn() const {
    if constexpr (config.takes_turns) bar_arrive(kTurnBarrier + (warpgroup + 1) % Shared::kWarpgroups, 256);
  }

  // ---- scores

  __device__ void see(const Work& work) {
    const int begin = work.query(64 * part);
    const int end = min_of(work.query(64 * part + 63) + 1, work.sequence.seqlen_q);
    every = begin < end ? tile_full_keys<config.mask>(work.mask, begin, end) : KeyInterval{0, kMaxSeqlen};
#pragma unroll
    for (int r = 0; r < 2; ++r) seen[r] = visible_keys<config.mask>(work.mask, work.query(row(r)));
  }
  template <int tiles>
  __device__ void mask_scores(int key_first) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int offset = key_first + 2 * (threadIdx.x % 4) - seen[r].begin;
      const unsigned size = seen[r].size();
#pragma unroll
      for (int n = 0; n < tiles; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (static_cast<unsigned>(offset + 8 * n + e) >= size) s[0][n][2 * r + e] = -__int_as_float(0x7f800000);
        }
      }
    }
  }
  /// softcap * tanh(scale * s / softcap), times log2(e); tanh from one exponential, exact to 1e-7 of softcap.
  template <int tiles>
  __device__ void cap_scores() {
    const float inner = 2.0f * kLog2E * args.softmax_scale / args.softcap;
    const float outer = args.softcap * kLog2E;
#pragma unroll
    for (int i = 0; i < 4 * tiles; ++i) {
      flat_s()[i] = outer - 2.0f * outer * rcp_approx(1.0f + ex2_approx(flat_s()[i] * inner));
    }
  }
  /// What a block's scores need before the softmax. The row maximum is taken before scaling: a negative scale turns
  /// signs. tiles: of 8 keys, that have scores. One branch is passed by the blocks that need neither.
  template <int tiles = kKeyTiles>
  __device__ void edit_scores(int key_first) {
    if constexpr (config.has_softcap) cap_scores<tiles>();
    const bool is_negative = !config.has_softcap && args.softmax_scale < 0.0f;
    const bool is_masked = !every.contains(key_first, key_first + 8 * tiles);
    if (!is_negative && !is_masked) return;
    if (is_negative) {
#pragma unroll
      for (int i = 0; i < 4 * tiles; ++i) flat_s()[i] = -flat_s()[i];
    }
    if (is_masked) mask_scores<tiles>(key_first);
  }
  /// tiles: of 8 keys, that have weights; those of the others are 0.
  template <int tiles = kKeyTiles>
  __device__ void pack_weights() {
    unsigned p[config.block_k / 4] = {};
#pragma unroll
    for (int i = 0; i < 2 * tiles; ++i) p[i] = pack<config.dtype>(flat_s()[2 * i], flat_s()[2 * i + 1]);
    products.write_p(p);
  }

  // ---- the loop over keys

  __device__ void begin_tile(const Work& work, int key_first) {
    see(work);
    softmax.reset();
    products.clear_d();
    if constexpr (kHalves) {
      if (is_half) {
        first_weights<kKeyTiles / 2>(key_first);
      } else {
        first_weights<kKeyTiles>(key_first);
      }
    } else {
      first_weights<kKeyTiles>(key_first);
    }
  }
  template <int tiles>
  __device__ void first_weights(int key_first) {
    auto& scores = reinterpret_cast<float(&)[1][tiles][4]>(s);
    edit_scores<tiles>(key_first);
    float largest[1][2], factor[1][2];
    softmax.outgrown(scores, scale_log2, largest);
    softmax.raise(largest, scale_log2, factor);
    softmax.weigh(scores, scale_log2);
    pack_weights<tiles>();
  }

  /// The keys from key_first on; is_last: of the tile.
  __device__ void step(int key_first, bool is_last) {
    shared.keys().wait_full(k_at);
    wait_turn();
    start_qk(part);
    shared.values().wait_full(v_at());
    start_pv();
    pass_turn();
    wgmma_wait_group<1>();
    products.read_scores(flat_s());
    shared.keys().release(k_at);
    if constexpr (kPredicatesRelease) {
      shared.queries().release(q_at, is_last);
      q_at.advance(is_last);
    } else if (is_last) {
      release_query();
    }
    edit_scores(key_first);
    float largest[1][2], factor[1][2];
    const bool grows = softmax.outgrown(s, scale_log2, largest);
    if (grows) softmax.raise(largest, scale_log2, factor);
    softmax.weigh(s, scale_log2);
    wgmma_wait_group<0>();
    shared.values().release(v_at());
    k_at.advance();
    pack_weights();
    if (grows) products.scale_d(factor[0][0], factor[0][1]);
  }

  /// Zeros over the rows of the next v from `row` on. Every warpgroup does it for itself, before its product.
  __device__ void clean_values(int row) const {
    shared.values().wait_full(v_at());
    constexpr int kChunks = 8 * Shared::kValuePanels;
#pragma unroll 1
    for (int i = threadIdx.x % 128; i < (config.block_k - row) * kChunks; i += 128) {
      const int chunk = i % kChunks;
      const unsigned at = shared.value(v_at().slot()) + chunk / 8 * KeyPanels::kPanelBytes + (row + i / kChunks) * 128;
      *static_cast<uint4*>(__cvta_shared_to_generic(at + chunk % 8 * 16)) = make_uint4(0, 0, 0, 0);
    }
    fence_proxy_async();
    bar_sync(kCleanBarrier + warpgroup, 128);
  }

  /// As soon as the last product of a tile with it is done: the next one is waited for.
  __device__ void release_query() {
    shared.queries().release(q_at);
    q_at.advance();
  }

  /// Leaves out what 64 rows of a tile do not see at its end, but for one block; returns the first key of the block
  /// that is left, and sees to is_half.
  __device__ int first_block(const Work& work, int part) {
    int key = LoadSm90<config>::last_block(work);
    if constexpr (kLeavesOut) {
      const int end = visible_keys<config.mask>(work.mask, work.query(64 * part + 63)).end;
      for (; key >= end && key > work.keys.begin; key -= config.block_k) {
        shared.keys().wait_full(k_at);  // before that, the release would count for what was there
        shared.keys().release(k_at);
        shared.values().wait_full(k_at);
        shared.values().release(k_at);
        k_at.advance();
        wait_turn();
        pass_turn();
      }
      is_half = key + config.block_k / 2 >= end;
    }
    return key;
  }

  __device__ void run() {
    const Work* work = shared.wait_work(work_at);
    if (!work) return;
    if (config.takes_turns && warpgroup == Shared::kWarpgroups - 1) bar_arrive(kTurnBarrier, 256);
    int begin = work->keys.begin, key = first_block(*work, part), next_part = part;
    shared.queries().wait_full(q_at);
    shared.keys().wait_full(k_at);
    start_qk(part);
    wgmma_wait_group<0>();
    products.read_scores(flat_s());
    while (work) {
      part = next_part;
      shared.keys().release(k_at);
      k_at.advance();
      if (key == begin) release_query();
      begin_tile(*work, key);
      if ((args.kv.cu_seqlens || args.kv.seq_lens) && key + config.block_k > work->sequence.seqlen_k) {
        clean_values(work->sequence.seqlen_k - key);
      }
#pragma unroll 1
      for (key -= config.block_k; key >= begin; key -= config.block_k) step(key, key == begin);
      const RingPlace<Shared::kWorks> done = work_at;
      const RingPlace<config.stages> last_v = v_at();
      work_at.advance();
      const Work* next = nullptr;
      const auto begin_next = [&] {
        if (kRotates) next_part = part + 1 == Shared::kWarpgroups ? 0 : part + 1;
        next = shared.wait_work(work_at);
        if (!next) return;
        begin = next->keys.begin;
        key = first_block(*next, next_part);
        shared.queries().wait_full(q_at);
        shared.keys().wait_full(k_at);
      };
      if constexpr (kBeginsBefore) begin_next();
      shared.values().wait_full(last_v);
      wait_turn();
      start_pv();
      if constexpr (kBeginsUnder) begin_next();
      if constexpr (kBeginsBefore || kBeginsUnder) start_qk(next_part);  // after the last tile of whatever is there
      pass_turn();
      wgmma_wait_group<kBeginsBefore || kBeginsUnder ? 1 : 0>();
      products.read_d(flat_o());
      shared.values().release(last_v);
      if constexpr (!kBeginsBefore && !kBeginsUnder) {
        begin_next();
        start_qk(next_part);
      }
      bool is_finite = !__any_sync(kWholeWarp, probe_o(0) + probe_o(1) != 0.0f);
      if (!is_finite) is_finite = !__any_sync(kWholeWarp, !is_nan_or_finite(*work));
      if constexpr (config.merges_in_cluster) bar_sync(kCleanBarrier + warpgroup, 128);  // all have used the values
      normalize(*work);
      if constexpr (config.copies_o) {
        if (is_finite) copy_out(*work);
      } else {
        store(*work);
      }
      wgmma_wait_group<0>();
      products.read_scores(flat_s());
      // A first row that is plainly the same in every lane: else the compiler takes lanes to have parted, and computes
      // descriptors, places and bounds per lane in the loop over keys (100 of 790 instructions, 10 % of the time).
      if (!is_finite) {
        const int first = __shfl_sync(kWholeWarp, row_of_warp(), 0);
        RowByRow<config>{args, *work}.store(first);
        if constexpr (config.merges_in_cluster) fetch_part(*work, first);
      }
      shared.works().release(done);
      work = next;
    }
    if (config.copies_o && threadIdx.x % 32 == 0) cp_async_bulk_wait_group_read<0>();
  }

  // ---- o

  /// 0 if a row of o is finite, else NaN: 0 * x is NaN exactly when x is not finite. Two chains: one is as long as o.
  __device__ float probe_o(int r) const {
    float probe[2] = {};
#pragma unroll
    for (int n = 0; n < kValueTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) probe[i] = fmaf(o[0][n][2 * r + i], 0.0f, probe[i]);
    }
    return probe[0] + probe[1];
  }
  /// False if o is not finite though the weights are, or the row does not exist.
  __device__ bool is_nan_or_finite(const Work& work) const {
    const auto is_nan = [&](int r) {
      return softmax.sum[0][r] != softmax.sum[0][r] && work.query(row(r)) < work.sequence.seqlen_q;
    };
    return (probe_o(0) == 0.0f || is_nan(0)) && (probe_o(1) == 0.0f || is_nan(1));
  }

  /// Writes the lse; returns what o is to be multiplied by, 0 if the row saw nothing.
  __device__ float finish_row(const Work& work, int r) const {
    const float sum = lanes_sum<4>(softmax.sum[0][r]);
    const bool empty = (sum == 0.0f) | (work.query(row(r)) >= work.sequence.seqlen_q);  // no branch
    if ((config.has_lse || config.is_split) && threadIdx.x % 4 == 0) {
      const float lse = empty ? -__int_as_float(0x7f800000) : kLn2 * (softmax.max_log2[0][r] + lg2_approx(sum));
      if constexpr (config.merges_in_cluster) {
        shared.part().data(row(r))[SharedPart<config>::kLse] = lse;
      } else {
        work.template store_lse<config>(args, row(r), lse);
      }
    }
    const float inverse = rcp_approx(sum);
    return empty ? 0.0f : inverse;
  }
  /// Divides o by the sums and writes the lse. Rows that see nothing become zeros; if their o is not finite, later.
  __device__ void normalize(const Work& work) {
    const float factor[1][2] = {{finish_row(work, 0), finish_row(work, 1)}};
    OnlineSoftmax<1>::rescale(o, factor);
  }

  /// The lanes of a row exchange words so that each holds 8 columns in a row, 16 bytes.
  __device__ static void transpose_quad(unsigned (&word)[4]) {
    const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
    const unsigned a = __shfl_xor_sync(kWholeWarp, odd ? word[0] : word[1], 1);
    const unsigned b = __shfl_xor_sync(kWholeWarp, odd ? word[2] : word[3], 1);
    (odd ? word[0] : word[1]) = a;
    (odd ? word[2] : word[3]) = b;
    const unsigned c = __shfl_xor_sync(kWholeWarp, high ? word[0] : word[2], 2);
    const unsigned d = __shfl_xor_sync(kWholeWarp, high ? word[1] : word[3], 2);
    (high ? word[0] : word[2]) = c;
    (high ? word[1] : word[3]) = d;
  }

  /// The warp's 16 rows through shared memory, which the copy engine reads while the next tile goes on. Rows past the
  /// tensor are left out by it.
  __device__ void copy_out(const Work& work) const {
    const int lane = threadIdx.x % 32;
    const unsigned to = shared.output(warpgroup * 4 + threadIdx.x / 32 % 4);
    if (lane == 0) cp_async_bulk_wait_group_read<0>();  // of the tile before
    __syncwarp();
    const unsigned row = to + (lane % 16) * 128;
    const unsigned chunk = ((lane / 16) ^ (lane % 8)) * 16;  // two chunks of 8 columns at a time
#pragma unroll
    for (int n = 0; n < kValueTiles; n += 2) {
      stmatrix_x4(row + n / 8 * 2048 + (chunk ^ (n % 8 * 16)), packed_pair(n, 0), packed_pair(n, 1),
                  packed_pair(n + 1, 0), packed_pair(n + 1, 1));
    }
    fence_proxy_async();
    __syncwarp();
    if (lane != 0) return;
#pragma unroll
    for (int panel = 0; panel < Shared::kValuePanels; ++panel) {
      cp_async_bulk_tensor_5d_store(shared.more.o, to + panel * 2048,
                                    {panel * kPanelColumns, 0, work.query(row_of_warp()),
                                     config.packs_heads ? work.head_kv : work.head, work.batch});
    }
    cp_async_bulk_commit_group();
  }

  __device__ void store(const Work& work) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const bool exists = row(r) < work.rows;
      if constexpr (config.is_split) {
        if (exists) store_partial_row(work, r);
        continue;
      }
      auto* to = static_cast<unsigned short*>(args.output.o) + work.output_offset(args.output, row(r));
#pragma unroll
      for (int n = 0; n < kValueTiles; n += 4) {
        unsigned word[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) word[i] = packed_pair(min_of(n + i, kValueTiles - 1), r);
        transpose_quad(word);
        const int column = 8 * (n + threadIdx.x % 4);
        if (exists && column < args.head_dim_v) {
          *reinterpret_cast<uint4*>(to + column) = make_uint4(word[0], word[1], word[2], word[3]);
        }
      }
    }
  }
  /// Of the 16 rows from `first` on, what RowByRow has left in global memory.
  __device__ void fetch_part(const Work& work, int first) const {
    __syncwarp();
#pragma unroll 1
    for (int row = first; row < min_of(first + 16, work.rows); ++row) {
      const Int64 from = work.partial_row(args, row);
      float* to = shared.part().data(row);
#pragma unroll 1
      for (int i = threadIdx.x % 32; i < args.head_dim_v; i += 32) {
        to[i] = args.split.partial_o[from * args.head_dim_v + i];
      }
      if (threadIdx.x % 32 == 0) to[SharedPart<config>::kLse] = args.split.partial_lse[from];
    }
  }
  __device__ unsigned packed_pair(int n, int r) const { return pack<config.dtype>(o[0][n][2 * r], o[0][n][2 * r + 1]); }
  __device__ void store_partial_row(const Work& work, int r) const {
    float* to = config.merges_in_cluster ? shared.part().data(row(r))
                                         : args.split.partial_o + work.partial_row(args, row(r)) * args.head_dim_v;
#pragma unroll
    for (int n = 0; n < kValueTiles; ++n) {
      const int column = 8 * n + 2 * (threadIdx.x % 4);
      if (column < args.head_dim_v) {
        *reinterpret_cast<float2*>(to + column) = make_float2(o[0][n][2 * r], o[0][n][2 * r + 1]);
      }
    }
  }
};

/// The whole kernel; its block has 32 * config.warps threads and forward_sm90_shared_bytes(config) of shared memory.
template <AttentionConfig config>
__device__ inline void forward_sm90(const AttentionArgs& args, const ForwardSm90Args& more) {
  UseSm90<config>::Products::declare();
  extern __shared__ __align__(1024) unsigned char memory[];
  const SharedSm90<config> shared = {args, more, shared_address(memory)};
  if (threadIdx.x == 32) {
    prefetch_tensormap(more.q);
    prefetch_tensormap(more.k);
    prefetch_tensormap(more.v);
    if (config.copies_o) prefetch_tensormap(more.o);
  }
  const LoadSm90<config> load = {shared, more};
  constexpr int kUsers = 4 * SharedSm90<config>::kWarpgroups;  // one arrival per warp
  if (threadIdx.x == 64) load.begin(kUsers, kUsers + 3);       // tiles: and the threads that load
  __syncthreads();
  griddepcontrol_wait();               // has been waited for by the one that began; this is for what others see
  griddepcontrol_launch_dependents();  // the next kernel may take places that become free, and wait
  const int warpgroup = __shfl_sync(kWholeWarp, threadIdx.x / 128, 0);  // in a form the compiler knows to be uniform
  // Registers per thread: 65536 shared out. Two blocks per SM have half each; three are launched with 80.
  constexpr int kUse = config.warps == 12          ? 232
                       : config.warps == 16        ? 160
                       : config.warps == 20        ? 112
                       : config.blocks_per_sm == 3 ? 128
                       : config.blocks_per_sm == 2 ? 216
                                                   : 256;
  constexpr int kLoad = config.warps >= 16 || config.blocks_per_sm == 3 ? 32 : 40;
  if (warpgroup == 0) {
    setmaxnreg_dec<kLoad>();
    if (threadIdx.x == 0) load.load_keys();
    if (threadIdx.x == 32) load.load_values();
    if (threadIdx.x / 32 == 2) load.find_work();
    if (threadIdx.x == 96) load.load_queries();
    __syncwarp();
    if constexpr (config.merges_in_cluster) {
      barrier_cluster();
      barrier_cluster_relaxed();
    }
  } else {
    setmaxnreg_inc<kUse>();
    UseSm90<config> use(shared, warpgroup - 1);
    use.run();
    if constexpr (config.merges_in_cluster) {
      __syncwarp();
      barrier_cluster();
      constexpr int kThreads = 32 * (config.warps - 4);
      const int rank = static_cast<int>(cluster_ctarank());
      MergeParts<config>{args, shared.merged(), shared.part()}.run(rank * kThreads + threadIdx.x - 128,
                                                                   args.split.num_splits * kThreads);
      __syncwarp();
      barrier_cluster_relaxed();  // until all have read what they need
    }
  }
}

}  // namespace fovea
