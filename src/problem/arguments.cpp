// SPDX-License-Identifier: Apache-2.0
#include "problem/arguments.h"

#include "problem/describe.h"

namespace fovea {
namespace {

const int* int_data(const TensorView& t) { return t.present() ? static_cast<const int*>(t.data) : nullptr; }

}  // namespace

AttentionArgs attention_args(const AttentionTensors& t, Layout layout, const AttentionProblem& p) {
  const TensorRows q = rows_of(t.q, layout), k = rows_of(t.k, layout), v = rows_of(t.v, layout),
                   o = rows_of(t.o, layout);
  AttentionArgs args;
  args.query = {t.q.data, q.stride_batch, q.stride_row, q.stride_head, p.seqlen_q, nullptr, int_data(t.seq_lens_q)};
  args.kv = {t.k.data,     t.v.data,      k.stride_batch, k.stride_row, k.stride_head,         v.stride_batch,
             v.stride_row, v.stride_head, p.seqlen_k,     nullptr,      int_data(t.seq_lens_k)};
  args.output = {t.o.data, o.stride_batch, o.stride_row, o.stride_head, nullptr, 0, 0};
  if (p.is_packed_q) {
    args.query.cu_seqlens = int_data(t.cu_seqlens_q);
    args.kv.cu_seqlens = int_data(t.cu_seqlens_k);
  }
  if (t.lse.present()) {
    args.output.lse = static_cast<float*>(t.lse.data);
    args.output.lse_stride_batch = p.is_packed_q ? 0 : t.lse.strides[0];
    args.output.lse_stride_head = t.lse.strides[p.is_packed_q ? 0 : 1];
  }
  args.mask = p.mask;
  args.batch = p.batch;
  args.num_heads_q = p.num_heads_q;
  args.num_heads_kv = p.num_heads_kv;
  args.head_dim_qk = p.head_dim_qk;
  args.head_dim_v = p.head_dim_v;
  args.softmax_scale = p.softmax_scale;
  args.softcap = p.softcap;
  return args;
}

}  // namespace fovea
