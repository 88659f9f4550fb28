// SPDX-License-Identifier: Apache-2.0
// Stands before kernels/block/row_by_row.cuh, which makes right whatever left o not finite: also what a missing wait or
// a wrong address has done. Where all numbers are finite nothing may need it.
#pragma once

#define RowByRow RowByRowItself
#include "kernels/block/row_by_row_itself.cuh"
#undef RowByRow

namespace fovea {

template <AttentionConfig config>
struct RowByRow {
  const AttentionArgs& args;
  const ForwardWork<config.packs_heads>& work;

  void store(int first) const {
    if (threadIdx.x % 32 == 0 && !has_reason(first)) {
      emulated::engine->fail("o is not finite, and is done again row by row, though all of q, k and v are finite");
    }
    RowByRowItself<config>{args, work}.store(first);
  }

 private:
  static bool is_finite(const unsigned short* row, int columns) {
    for (int i = 0; i < columns; ++i) {
      if (non_finite<config.dtype>(row[i])) return false;
    }
    return true;
  }
  /// Something is not finite in these rows of q, or in the blocks of keys that the tile has loaded, to their ends; or
  /// not all of these rows of the tile are loaded, since groups of heads are not torn apart.
  bool has_reason(int first) const {
    if (first + 16 > config.block_q / work.group * work.group) return true;
    for (int row = first; row < min_of(first + 16, work.rows); ++row) {
      const auto* q = static_cast<const unsigned short*>(args.query.q) + work.query_offset(args.query, row);
      if (!is_finite(q, args.head_dim_qk)) return true;
    }
    const KeyValueDense& kv = args.kv;
    const int loaded = work.keys.begin + ceil_div(work.keys.size(), config.block_k) * config.block_k;
    const int in_memory =
        kv.cu_seqlens ? static_cast<int>(kv.cu_seqlens[args.batch] - work.sequence.k_first) : kv.seqlen;
    for (int key = work.keys.begin; key < min_of(loaded, in_memory); ++key) {
      const Int64 row = work.sequence.k_first + key;
      const auto* k = static_cast<const unsigned short*>(kv.k) + work.batch * kv.k_stride_batch +
                      work.head_kv * kv.k_stride_head + row * kv.k_stride_row;
      const auto* v = static_cast<const unsigned short*>(kv.v) + work.batch * kv.v_stride_batch +
                      work.head_kv * kv.v_stride_head + row * kv.v_stride_row;
      if (!is_finite(k, args.head_dim_qk) || !is_finite(v, args.head_dim_v)) return true;
    }
    return false;
  }
};

}  // namespace fovea
