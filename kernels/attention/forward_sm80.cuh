// SPDX-License-Identifier: Apache-2.0
// Attention forward by mma.sync (arXiv 2307.08691): sm_80 and newer, and sm_75 for fp16.
// A block owns block_q rows of q; each warp owns block_q / warps of them and holds their o in registers. Blocks of k
// and v pass through a ring of `stages` shared buffers, loaded ahead by cp.async; one barrier per block of keys. A warp
// takes step_k keys at a time: s = q k^T, mask (edge steps only), softmax weights p in registers, o += p v. Weights of
// the next 16 keys are computed between the products of the last 16. Steps that no row of the warp may see are skipped.
// Few rows (decoding) are shared by key_warps warps, which take the steps in turn and merge at the end: a tile of 16
// rows would else leave the work to one warp.
// Non-finite values of v must not reach rows that may not see them, though 0 * inf is NaN: if o ends up non-finite, the
// block starts again with v cleaned (see admit_non_finite), at no cost to the usual run.
//
// As compiled for sm_90a (NVRTC 13.0, bf16): d = 64, 128 x 128 keys, 247 registers, 80 KiB; d = 128 unmasked 128 x 64,
// 255 registers, 64 KiB; d = 128 masked 128 x 64 in steps of 32, 255 registers, 96 KiB; d = 256 unmasked 64 x 64, 253
// registers, 96 KiB: two blocks of four warps per SM each; d = 256 masked 128 x 64, 253 registers, 192 KiB, one of
// eight. Shared rows, d = 128: 16 x 128 in steps of 16, 196 registers, 196 KiB, one block of eight warps per SM, or
// 16 x 64, 188 registers, 68 KiB, two of four. Registers bound the others: o and the scores alone take 160 to 192. What
// spills are addresses and row maxima, touched once per block of keys; keeping fewer registers of q or shorter steps is
// slower (docs/kernels).
// Spills: attention_forward_sm80 | * | * | 240 bytes | addresses and row maxima, once per block of keys
// Spills: attention_forward_sm80 | * | .head_dim_v = 256 | 400 bytes | o takes 128 registers whatever the tile
// Spills: attention_forward_sm80 | sm_75 | .head_dim_v = 256 | 1000 bytes | copies wait in registers on Turing
#pragma once

#include "kernels/block/forward_work.cuh"
#include "kernels/block/merge_splits.cuh"
#include "kernels/block/online_softmax.cuh"
#include "kernels/pipeline/tile_copy.cuh"
#include "kernels/ptx/shared_address.cuh"
#include "kernels/tile/convert.cuh"
#include "kernels/tile/fragment.cuh"

namespace fovea {

template <AttentionConfig config>
struct ForwardSm80 {
  static constexpr int kThreads = config.warps * 32;
  static constexpr int kKeyWarps = max_of(config.key_warps, 1);
  static constexpr bool kSharesRows = kKeyWarps > 1;
  static constexpr int kRowTiles = config.block_q * kKeyWarps / config.warps / 16;
  static constexpr int kStepTiles = config.step_k / 8;
  static constexpr int kValueTiles = config.head_dim_v / 8;
  static constexpr int kDepth = config.head_dim_qk / 16;
  static constexpr int kKept = min_of(config.q_kept, kDepth);
  static constexpr int kQueryBytes = config.block_q * config.head_dim_qk * 2;
  static constexpr int kKeyBytes = config.block_k * config.head_dim_qk * 2;
  static constexpr int kStepKeyBytes = config.step_k * config.head_dim_qk * 2;
  static constexpr int kStepValueBytes = config.step_k * config.head_dim_v * 2;
  static constexpr int kSlotBytes = kKeyBytes + config.block_k * config.head_dim_v * 2;
  static_assert(kRowTiles > 0 && config.block_q * kKeyWarps == 16 * kRowTiles * config.warps,
                "every warp owns whole 16-row tiles");
  static_assert(config.block_k % config.step_k == 0 && config.step_k % 16 == 0, "steps are whole 16-key products");
  static_assert(config.stages > 1 || config.block_k == config.step_k, "a single buffer is consumed in one step");
  static_assert(config.stages > 1 || kKeyWarps == 1, "which warps cannot take in turn");

  using QueryPattern = FragmentPattern<config.head_dim_qk, BlockOrder::kRowsFirst>;
  using KeyPattern = FragmentPattern<config.head_dim_qk, BlockOrder::kColumnsFirst>;
  using ValuePattern = FragmentPattern<config.head_dim_v, BlockOrder::kRowsFirst>;
  using QueryCopy = TileCopy<config.block_q, config.head_dim_qk, kThreads, config.copy_bytes>;
  using KeyCopy = TileCopy<config.block_k, config.head_dim_qk, kThreads, config.copy_bytes>;
  using ValueCopy = TileCopy<config.block_k, config.head_dim_v, kThreads, config.copy_bytes>;
  using Scores = float[kRowTiles][kStepTiles][4];
  using Output = float[kRowTiles][kValueTiles][4];
  using Query = unsigned[kKept > 0 ? kKept : 1][kRowTiles][4];

  /// One lane's places in the tiles.
  struct Patterns {
    QueryPattern query;
    KeyPattern key;
    ValuePattern value;
    __device__ explicit Patterns(int lane) : query(lane), key(lane), value(lane) {}
  };
  /// Keys that some, and that every, existing row of a warp sees.
  struct WarpKeys {
    KeyInterval some, every;
  };

  const AttentionArgs& args;
  const ForwardWork<config.packs_heads> work;
  const unsigned shared;                                          // address of q; the ring follows
  const int warp = __shfl_sync(kWholeWarp, threadIdx.x / 32, 0);  // in a form that the compiler knows to be uniform
  const int lane = threadIdx.x % 32;
  float scale_log2;

  // ---- where things are

  __device__ int first_row() const { return warp / kKeyWarps * (16 * kRowTiles); }
  /// Number among the warps that share these rows: of the first step of a block that the warp takes.
  __device__ int key_warp() const { return warp % kKeyWarps; }
  /// Row of the tile that this lane holds as row r (0, 1) of row tile m.
  __device__ int row(int m, int r) const { return first_row() + 16 * m + 8 * r + lane / 4; }
  __device__ unsigned key_slot(int block) const { return shared + kQueryBytes + block % config.stages * kSlotBytes; }
  __device__ unsigned value_slot(int block) const { return key_slot(block) + kKeyBytes; }
  __device__ KeyInterval visible(int row) const {
    const int q = work.query(row);
    return q < work.sequence.seqlen_q ? visible_keys<config.mask>(work.mask, q) : KeyInterval{0, 0};
  }
  __device__ WarpKeys warp_keys() const {
    const int begin = work.query(first_row());
    const int end = min_of(work.query(first_row() + 16 * kRowTiles - 1) + 1, work.sequence.seqlen_q);
    if (begin >= end) return {{0, 0}, {0, 0}};
    return {tile_keys<config.mask>(work.mask, begin, end), tile_full_keys<config.mask>(work.mask, begin, end)};
  }

  // ---- produce: global to shared memory

  __device__ void load_query() {
    const auto* q = static_cast<const unsigned short*>(args.query.q);
    if constexpr (!config.packs_heads) {
      q += work.query_offset(args.query, 0);
      QueryCopy copy;
      copy.begin(shared, {q, args.query.stride_row, work.rows, args.head_dim_qk}, threadIdx.x);
      copy.finish(shared, threadIdx.x);
    } else {
#pragma unroll 1
      for (int piece = threadIdx.x; piece < QueryCopy::kPieces; piece += kThreads) {
        const int r = piece / QueryCopy::kPiecesPerRow;
        const RowSource row = {q + work.query_offset(args.query, r), 0, r < work.rows ? config.block_q : 0,
                               args.head_dim_qk};
        const int bytes = QueryCopy::source_bytes(row, piece);
        QueryCopy::copy_piece(shared + QueryCopy::shared_offset(piece), bytes ? QueryCopy::address(row, piece) : q,
                              bytes);
      }
    }
  }
  __device__ void load_keys(KeyCopy& copy, int block) const {
    const int first = work.keys.begin + block * config.block_k;
    const auto* k = static_cast<const unsigned short*>(args.kv.k) + work.batch * args.kv.k_stride_batch +
                    work.head_kv * args.kv.k_stride_head + (work.sequence.k_first + first) * args.kv.k_stride_row;
    copy.begin(key_slot(block), {k, args.kv.k_stride_row, work.keys.end - first, args.head_dim_qk}, threadIdx.x);
  }
  __device__ void load_values(ValueCopy& copy, int block) const {
    const int first = work.keys.begin + block * config.block_k;
    const auto* v = static_cast<const unsigned short*>(args.kv.v) + work.batch * args.kv.v_stride_batch +
                    work.head_kv * args.kv.v_stride_head + (work.sequence.k_first + first) * args.kv.v_stride_row +
                    work.v_first;
    const int columns = min_of(args.head_dim_v - work.v_first, config.head_dim_v);
    copy.begin(value_slot(block), {v, args.kv.v_stride_row, work.keys.end - first, columns}, threadIdx.x);
  }

  // ---- consume: one step of step_k keys

  __device__ static void multiply_depth(Scores& s, const unsigned (&q)[kRowTiles][4], const KeyPattern& pattern,
                                        unsigned k, int i) {
#pragma unroll
    for (int n = 0; n < kStepTiles / 2; ++n) {
      unsigned b[4];
      ldmatrix_x4(b, k + pattern.at(n, i));
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        multiply_accumulate<config.dtype>(s[m][2 * n], q[m], b[0], b[1]);
        multiply_accumulate<config.dtype>(s[m][2 * n + 1], q[m], b[2], b[3]);
      }
    }
  }

  __device__ void mask_step(Scores& s, int key_first) const {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const KeyInterval seen = visible(row(m, r));
        const int offset = key_first + 2 * (lane % 4) - seen.begin;
        const unsigned size = seen.size();
#pragma unroll
        for (int n = 0; n < kStepTiles; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            if (static_cast<unsigned>(offset + 8 * n + e) >= size) s[m][n][2 * r + e] = -__int_as_float(0x7f800000);
          }
        }
      }
    }
  }

  /// softcap * tanh(scale * s / softcap), times log2(e); tanh from one exponential, exact to 1e-7 of softcap.
  __device__ void cap_step(Scores& s) const {
    const float inner = 2.0f * kLog2E * fabsf(args.softmax_scale) / args.softcap;
    const float outer = args.softcap * kLog2E;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kStepTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          s[m][n][i] = outer - 2.0f * outer * rcp_approx(1.0f + ex2_approx(s[m][n][i] * inner));
        }
      }
    }
  }

  /// Caps and masks the scores, and lets their maximum into the softmax.
  __device__ void admit(Scores& s, Output& o, OnlineSoftmax<kRowTiles>& softmax, const WarpKeys& seen,
                        int key_first) const {
    if constexpr (config.has_softcap) cap_step(s);
    if (!seen.every.contains(key_first, key_first + config.step_k)) mask_step(s, key_first);
    softmax.admit(s, scale_log2, o);
  }

  /// Weights of 8 keys (n) of row tile m, as half of an A operand of the product with v.
  __device__ void weigh_tile(unsigned (&p)[4], const Scores& s, OnlineSoftmax<kRowTiles>& softmax, int m, int n) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float low = softmax.weigh(s[m][n][2 * r], scale_log2, m, r);
      const float high = softmax.weigh(s[m][n][2 * r + 1], scale_log2, m, r);
      p[2 * (n & 1) + r] = pack<config.dtype>(low, high);
    }
  }

  /// o += p v; the weights of each 16 keys are made between the products of the 16 before.
  __device__ void multiply_values(Output& o, const Scores& s, OnlineSoftmax<kRowTiles>& softmax,
                                  const ValuePattern& pattern, unsigned v) const {
    constexpr int kParts = 2 * kRowTiles;  // of 16 keys' weights
    constexpr int kPairs = kValueTiles / 2;
    unsigned p[2][kRowTiles][4];
#pragma unroll
    for (int part = 0; part < kParts; ++part) weigh_tile(p[0][part / 2], s, softmax, part / 2, part % 2);
#pragma unroll
    for (int i = 0; i < kStepTiles / 2; ++i) {
#pragma unroll
      for (int n = 0; n < kPairs; ++n) {
        unsigned b[4];
        ldmatrix_x4_trans(b, v + pattern.at(i, n));
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          multiply_accumulate<config.dtype>(o[m][2 * n], p[i % 2][m], b[0], b[1]);
          multiply_accumulate<config.dtype>(o[m][2 * n + 1], p[i % 2][m], b[2], b[3]);
        }
        if (i + 1 < kStepTiles / 2) {
#pragma unroll
          for (int part = n * kParts / kPairs; part < (n + 1) * kParts / kPairs; ++part) {
            weigh_tile(p[(i + 1) % 2][part / 2], s, softmax, part / 2, 2 * (i + 1) + part % 2);
          }
        }
      }
    }
  }

  // ---- non-finite v

  /// Adds the infinities and NaNs of this block's v to the rows that see them, and replaces them by zeros for the
  /// products. All threads of the block call it.
  __device__ void admit_non_finite(Output& o, unsigned v_tile, int key_first) const {
    using Layout = Swizzle<config.head_dim_v>;
    auto* v = static_cast<unsigned short*>(__cvta_shared_to_generic(v_tile));
    constexpr int kElements = config.block_k * config.head_dim_v;
    bool found = false;
#pragma unroll 1
    for (int i = threadIdx.x; i < kElements; i += kThreads) found |= non_finite<config.dtype>(v[i]);
    if (!__syncthreads_or(found)) return;
#pragma unroll 1
    for (int key = 0; key < config.block_k; ++key) {
      if (key / config.step_k % kKeyWarps != key_warp()) continue;
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n) {
        const unsigned short* pair = v + Layout::offset_bytes(key, n) / 2 + 2 * (lane % 4);
        if (!non_finite<config.dtype>(pair[0]) && !non_finite<config.dtype>(pair[1])) continue;
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (non_finite<config.dtype>(pair[i & 1]) && visible(row(m, i / 2)).contains(key_first + key)) {
              o[m][n][i] += to_float<config.dtype>(pair[i & 1]);
            }
          }
        }
      }
    }
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < kElements; i += kThreads) {
      if (non_finite<config.dtype>(v[i])) v[i] = 0;
    }
    __syncthreads();
  }
  // ---- the loop over keys

  __device__ void multiply_keys(Scores& s, const Query& kept, const Patterns& patterns, unsigned k) const {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      if (i < kKept) {
        multiply_depth(s, kept[i], patterns.key, k, i);
      } else {
        unsigned q[kRowTiles][4];
        load_fragments(q, patterns.query, i);
        multiply_depth(s, q, patterns.key, k, i);
      }
    }
  }
  __device__ void load_fragments(unsigned (&q)[kRowTiles][4], const QueryPattern& pattern, int i) const {
    const unsigned rows = shared + first_row() * (config.head_dim_qk * 2);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) ldmatrix_x4(q[m], rows + pattern.at(m, i));
  }

  /// After q has landed: turns its sign if the scale is negative (the row maximum is taken before scaling), and reads
  /// it.
  __device__ void prepare_query(Query& kept, const QueryPattern& pattern) const {
    if (args.softmax_scale < 0.0f) {
      auto* words = static_cast<unsigned*>(__cvta_shared_to_generic(shared));
#pragma unroll 1
      for (int i = threadIdx.x; i < kQueryBytes / 4; i += kThreads) words[i] ^= 0x80008000u;
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kKept; ++i) load_fragments(kept[i], pattern, i);
  }

  /// The loop over keys with two or more buffers: blocks ahead are loaded while this one is used, one barrier per
  /// block.
  __device__ void attend_buffered(Output& o, OnlineSoftmax<kRowTiles>& softmax, bool clean) {
    constexpr int kAhead = config.stages - 1;
    const int blocks = ceil_div(work.keys.size(), config.block_k);
    const WarpKeys seen = warp_keys();
    const Patterns patterns(lane);
    Query kept;
    KeyCopy keys;
    ValueCopy values;
    load_query();
#pragma unroll 1
    for (int block = -kAhead; block < blocks; ++block) {  // the first laps only load
      if (block >= 0) {
        wait_for_copies<config.stages - 2>();
        __syncthreads();  // this block has landed for all threads, and all have left the buffer that is filled next
        if (block == 0) prepare_query(kept, patterns.query);
      }
      if (block + kAhead < blocks) {
        load_keys(keys, block + kAhead);
        load_values(values, block + kAhead);
      }
      commit_copies();
      if (block >= 0) {
        int key_first = work.keys.begin + block * config.block_k;
        unsigned k = key_slot(block), v = value_slot(block);
        if (clean) admit_non_finite(o, v, key_first);
        key_first += key_warp() * config.step_k;
        k += key_warp() * kStepKeyBytes;
        v += key_warp() * kStepValueBytes;
#pragma unroll 1
        for (int step = key_warp(); step < config.block_k / config.step_k; step += kKeyWarps) {
          if (seen.some.meets(key_first, key_first + config.step_k)) {
            Scores s = {};
            multiply_keys(s, kept, patterns, k);
            admit(s, o, softmax, seen, key_first);
            multiply_values(o, s, softmax, patterns.value, v);
          }
          key_first += kKeyWarps * config.step_k;
          k += kKeyWarps * kStepKeyBytes;
          v += kKeyWarps * kStepValueBytes;
        }
      }
      if (block + kAhead < blocks) {
        keys.finish(key_slot(block + kAhead), threadIdx.x);
        values.finish(value_slot(block + kAhead), threadIdx.x);
      }
    }
    wait_for_copies<0>();  // without keys q may still be on its way
  }

  /// The loop with one buffer each: values are loaded under the product with the keys, the next keys under the rest.
  /// Two barriers per block; for head dimensions whose tiles fill shared memory.
  __device__ void attend_single(Output& o, OnlineSoftmax<kRowTiles>& softmax, bool clean) {
    const int blocks = ceil_div(work.keys.size(), config.block_k);
    const WarpKeys seen = warp_keys();
    const Patterns patterns(lane);
    const unsigned k = key_slot(0), v = value_slot(0);
    Query kept;
    KeyCopy keys;
    ValueCopy values;
    load_query();
    if (blocks > 0) {
      load_keys(keys, 0);
      keys.finish(k, threadIdx.x);
    }
    commit_copies();
#pragma unroll 1
    for (int block = 0; block < blocks; ++block) {
      const int key_first = work.keys.begin + block * config.block_k;
      const bool visible = seen.some.meets(key_first, key_first + config.step_k);
      wait_for_copies<0>();
      __syncthreads();  // the keys have landed for all threads, and all have left the last values
      if (block == 0) prepare_query(kept, patterns.query);
      load_values(values, block);
      commit_copies();
      Scores s = {};
      if (visible) multiply_keys(s, kept, patterns, k);
      values.finish(v, threadIdx.x);
      wait_for_copies<0>();
      __syncthreads();  // the values have landed, and all have left the keys
      if (block + 1 < blocks) load_keys(keys, block + 1);
      commit_copies();
      if (clean) admit_non_finite(o, v, key_first);
      if (visible) {
        admit(s, o, softmax, seen, key_first);
        multiply_values(o, s, softmax, patterns.value, v);
      }
      if (block + 1 < blocks) keys.finish(k, threadIdx.x);
    }
    wait_for_copies<0>();
  }

  // ---- epilogue

  __device__ static bool all_finite(const Output& o) {
    float probe[4] = {};  // 0 * x is NaN exactly when x is not finite; four chains, since one is as long as o
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) probe[i] = fmaf(o[m][n][i], 0.0f, probe[i]);
      }
    }
    return probe[0] + probe[1] + probe[2] + probe[3] == 0.0f;
  }

  /// Where a warp leaves its o for others that have its rows.
  __device__ SharedPart<config> part(int key_warp) const {
    return {shared + key_warp * static_cast<unsigned>(SharedPart<config>::kBytes)};
  }

  /// Divides o by the row sums and writes the lse.
  __device__ void normalize(Output& o, const OnlineSoftmax<kRowTiles>& softmax) const {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float sum = lanes_sum<4>(softmax.sum[m][r]);
        const int at = row(m, r), q = work.query(at);
        const bool empty = sum == 0.0f || q >= work.sequence.seqlen_q;
        const float factor = empty ? 0.0f : rcp_approx(sum);
#pragma unroll
        for (int n = 0; n < kValueTiles; ++n) {
          o[m][n][2 * r] = empty ? 0.0f : o[m][n][2 * r] * factor;
          o[m][n][2 * r + 1] = empty ? 0.0f : o[m][n][2 * r + 1] * factor;
        }
        if ((config.has_lse || config.is_split || kSharesRows) && lane % 4 == 0) {
          const float lse = empty ? -__int_as_float(0x7f800000) : kLn2 * softmax.max_log2[m][r] + logf(sum);
          if constexpr (kSharesRows) {
            part(key_warp()).data(at)[SharedPart<config>::kLse] = lse;
          } else {
            work.template store_lse<config>(args, at, lse);
          }
        }
      }
    }
  }

  __device__ void store_partial(const Output& o) const {
    const int columns = args.head_dim_v - work.v_first;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (row(m, r) >= work.rows) continue;
        float* to = args.split.partial_o + work.partial_row(args, row(m, r)) * args.head_dim_v + work.v_first;
#pragma unroll
        for (int n = 0; n < kValueTiles; ++n) {
          const int column = 8 * n + 2 * (lane % 4);
          if (columns % 2 == 0 && column + 1 < columns && args.head_dim_v % 2 == 0) {
            *reinterpret_cast<float2*>(to + column) = make_float2(o[m][n][2 * r], o[m][n][2 * r + 1]);
          } else {
            if (column < columns) to[column] = o[m][n][2 * r];
            if (column + 1 < columns) to[column + 1] = o[m][n][2 * r + 1];
          }
        }
      }
    }
  }

  /// Through shared memory, so that whole rows leave in 16-byte pieces. Each warp writes and reads its own rows.
  __device__ void store_output(const Output& o) const {
    using Layout = Swizzle<config.head_dim_v>;
    auto* tile = static_cast<unsigned char*>(__cvta_shared_to_generic(shared));
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
#pragma unroll
        for (int n = 0; n < kValueTiles; ++n) {
          *reinterpret_cast<unsigned*>(tile + Layout::offset_bytes(row(m, r), n) + 4 * (lane % 4)) =
              pack<config.dtype>(o[m][n][2 * r], o[m][n][2 * r + 1]);
        }
      }
    }
    __syncwarp();
    const int columns = min_of(args.head_dim_v - work.v_first, config.head_dim_v);
#pragma unroll 4
    for (int i = lane; i < 16 * kRowTiles * Layout::kChunks; i += 32) {
      const int at = first_row() + i / Layout::kChunks, chunk = i % Layout::kChunks;
      if (at >= work.rows) break;
      auto* to =
          static_cast<unsigned short*>(args.output.o) + work.output_offset(args.output, at) + work.v_first + 8 * chunk;
      const auto* from = reinterpret_cast<const uint4*>(tile + Layout::offset_bytes(at, chunk));
      if (config.copy_bytes == 16 && 8 * chunk + 8 <= columns) {
        *reinterpret_cast<uint4*>(to) = *from;
      } else {
        for (int e = 0; e < 8 && 8 * chunk + e < columns; ++e) to[e] = reinterpret_cast<const unsigned short*>(from)[e];
      }
    }
  }

  __device__ void merge_parts(const Output& o) const {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        auto* to = reinterpret_cast<float2*>(part(key_warp()).data(row(m, r)));
#pragma unroll
        for (int n = 0; n < kValueTiles; ++n) to[4 * n + lane % 4] = make_float2(o[m][n][2 * r], o[m][n][2 * r + 1]);
      }
    }
    __syncthreads();
    MergeParts<config>{args, work, part(0)}.run(threadIdx.x, kThreads);
  }

  __device__ void run() {
    Output o;
    OnlineSoftmax<kRowTiles> softmax;
#pragma unroll 1
    for (int attempt = 0; attempt < 2; ++attempt) {
      zero(o);
      softmax.reset();
      if constexpr (config.stages > 1) {
        attend_buffered(o, softmax, attempt > 0);
      } else {
        attend_single(o, softmax, attempt > 0);
      }
      // Also the barrier after which shared memory is free for o.
      if (!__syncthreads_or(!all_finite(o))) break;
    }
    normalize(o, softmax);
    if constexpr (kSharesRows) {
      merge_parts(o);
    } else if constexpr (config.is_split) {
      store_partial(o);
    } else {
      store_output(o);
    }
  }
  __device__ static void zero(Output& o) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) o[m][n][i] = 0.0f;
      }
    }
  }
};

/// The whole kernel; its block has 32 * config.warps threads and forward_sm80_shared_bytes(config) of shared memory.
template <AttentionConfig config>
__device__ inline void forward_sm80(const AttentionArgs& args) {
  extern __shared__ __align__(128) unsigned char shared[];
  const ForwardWork<config.packs_heads> work = find_forward_work<config>(args, blockIdx.x);
  if (work.rows <= 0) return;
  ForwardSm80<config> kernel = {args, work, shared_address(shared)};
  // With softcap the scores arrive scaled. The smallest scale is positive, so that -inf * scale stays -inf.
  kernel.scale_log2 = config.has_softcap ? 1.0f : fmaxf(fabsf(args.softmax_scale) * kLog2E, 1.2e-38f);
  kernel.run();
}

}  // namespace fovea
