// SPDX-License-Identifier: Apache-2.0
#include "problem/describe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>

#include "base/check.h"
#include "base/math.h"
#include "contract/dtype.h"
#include "problem/tensor_checks.h"

namespace fovea {
namespace {

constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;
constexpr std::int64_t kIntLimit = std::numeric_limits<int>::max();
constexpr std::int64_t kMaxHeadDim = 1 << 20;

const char* dims_text(Layout layout) {
  switch (layout) {
    case Layout::kBSHD: return "(batch, seqlen, num_heads, head_dim)";
    case Layout::kBHSD: return "(batch, num_heads, seqlen, head_dim)";
    case Layout::kTHD: return "(total, num_heads, head_dim)";
  }
  return "";
}

void check_main_tensor(const Named& n, const TensorView& q, Layout layout, bool is_paged_kv, bool require_data) {
  const TensorView& t = *n.tensor;
  check(t.present(), kBad, n.name, "{} is missing; attention needs q, k, v and o", n.name);
  const int want = layout == Layout::kTHD && !is_paged_kv ? 3 : 4;
  check(t.ndim == want, kBad, n.name, "{} has {} dimensions, must have {}: {}", n.name, t.ndim, want,
        is_paged_kv ? "(pages, page_size, num_heads_kv, head_dim)" : dims_text(layout));
  check_extent(n);
  check(t.dtype == DType::kF32 || t.dtype == DType::kF16 || t.dtype == DType::kBF16, kBad, n.name,
        "{} has dtype {}, must be fp32, fp16 or bf16{}", n.name, name_of(t.dtype),
        t.dtype == DType::kE4M3 ? ": fp8 is for operands of matrix products; convert it" : "");
  check(t.dtype == q.dtype, kBad, n.name, "{} has dtype {} but q has {}; convert one of them", n.name, name_of(t.dtype),
        name_of(q.dtype));
  check_device(n, {"q", &q});
  const int last = t.ndim - 1;
  check(t.shape[last] <= 1 || t.strides[last] == 1, kBad, n.name,
        "{} has stride {} in its last dimension, must be 1; make a contiguous copy", n.name, t.strides[last]);
  check_data(n, require_data);
}

void check_vector(const Named& n, const TensorView& q, std::int64_t size, const char* meaning, bool require_data) {
  const TensorView& t = *n.tensor;
  check(t.ndim == 1 && t.shape[0] == size, kBad, n.name, "{} has shape {}, must be ({},): {}", n.name, shape_text(t),
        size, meaning);
  check(t.dtype == DType::kI32, kBad, n.name, "{} has dtype {}, must be int32", n.name, name_of(t.dtype));
  check(t.shape[0] <= 1 || t.strides[0] == 1, kBad, n.name, "{} must be contiguous; make a copy", n.name);
  check_device(n, {"q", &q});
  check(!require_data || t.data || size == 0, kBad, n.name, "{} has null data", n.name);
  check(reinterpret_cast<std::uintptr_t>(t.data) % sizeof(std::int32_t) == 0, kBad, n.name,
        "{} starts at an address that is no multiple of 4 bytes; copy it to aligned memory", n.name);
}

/// Longest sequence of a packed tensor: from cu_seqlens on a CPU, from the caller's word on a GPU.
int packed_max_seqlen(const Named& n, std::int64_t total, int given, const char* max_field, bool may_read) {
  const TensorView& t = *n.tensor;
  check(given >= 0, kBad, max_field, "{} is {}, must not be negative", max_field, given);
  if (!may_read) {
    check(given > 0 || total == 0, kBad, max_field,
          "{} must be given for packed sequences here: reading {} back from the device would synchronise", max_field,
          n.name);
    return checked_int(std::min<std::int64_t>(given, total), kMaxSeqlen, max_field);  // a bound may be generous
  }
  const auto* offsets = static_cast<const std::int32_t*>(t.data);
  const std::int64_t count = t.shape[0];
  check(offsets[0] == 0, kBad, n.name, "{}[0] is {}, must be 0", n.name, offsets[0]);
  std::int64_t longest = 0;
  for (std::int64_t i = 1; i < count; ++i) {
    const std::int64_t length = std::int64_t{offsets[i]} - offsets[i - 1];
    check(length >= 0, kBad, n.name,
          "{}[{}] is {}, less than the entry before it ({}); each must be where a sequence ends", n.name, i, offsets[i],
          offsets[i - 1]);
    longest = std::max(longest, length);
  }
  check(offsets[count - 1] == total, kBad, n.name,
        "{} ends at {}, but the tensor has {} rows; cut the tensor, or add a sequence", n.name, offsets[count - 1],
        total);
  check(given == 0 || given >= longest, kBad, max_field, "{} is {}, but {} holds a sequence of {}; it must be no less",
        max_field, given, n.name, longest);
  return checked_int(longest, kMaxSeqlen, max_field);
}

MaskRule mask_rule(const AttentionOptions& o) {
  for (const auto& [field, value] : {std::pair{"window_left", o.window_left}, {"window_right", o.window_right}}) {
    check(!value || *value >= 0, kBad, field, "{} is {}, must not be negative; leave it empty for an open side", field,
          value.value_or(0));
  }
  MaskRule rule;
  rule.alignment = o.alignment;
  if (o.window_left || (o.window_right && !o.causal)) {
    rule.kind = MaskKind::kWindow;
    rule.window_left = std::min(o.window_left.value_or(kWindowOpen), kWindowOpen);
    rule.window_right = o.causal ? 0 : std::min(o.window_right.value_or(kWindowOpen), kWindowOpen);
  } else if (o.causal) {
    rule.kind = MaskKind::kCausal;
    rule.window_right = 0;
  } else {
    rule.alignment = MaskAlignment::kBottomRight;  // without a mask both mean the same: one plan
  }
  return rule;
}

/// q, k, v and o fit together; heads and head dimensions are known.
void describe_heads(AttentionProblem& p, const AttentionTensors& t, Layout layout) {
  const bool paged = t.page_table.present();
  const TensorRows q = rows_of(t.q, layout), o = rows_of(t.o, layout);
  const TensorRows k = rows_of(t.k, paged ? Layout::kBSHD : layout), v = rows_of(t.v, paged ? Layout::kBSHD : layout);
  check(paged || k.batch == q.batch, kBad, "k", "k has batch {}, but q has {}; both must be equal", k.batch, q.batch);
  check(v.batch == k.batch && v.seqlen == k.seqlen && v.num_heads == k.num_heads, kBad, "v",
        "v has shape {}, must agree with k {} in all but the last dimension", shape_text(t.v), shape_text(t.k));
  check(k.head_dim == q.head_dim, kBad, "k",
        "k has head_dim {}, but q has {}; both must be equal, only v may have another", k.head_dim, q.head_dim);
  check(q.head_dim > 0, kBad, "q", "q has head_dim 0, must be at least 1");
  check(o.batch == q.batch && o.seqlen == q.seqlen && o.num_heads == q.num_heads && o.head_dim == v.head_dim, kBad, "o",
        "o has shape {}, must be that of q {} with the last dimension of v, {}", shape_text(t.o), shape_text(t.q),
        v.head_dim);
  check(q.num_heads == 0 || (k.num_heads > 0 && q.num_heads % k.num_heads == 0), kBad, "k",
        "q has {} heads and k has {}; the heads of q must be a multiple of those of k", q.num_heads, k.num_heads);
  p.num_heads_q = checked_int(q.num_heads, kIntLimit, "num_heads_q");
  p.num_heads_kv = checked_int(k.num_heads, kIntLimit, "num_heads_kv");
  p.head_dim_qk = checked_int(q.head_dim, kMaxHeadDim, "head_dim_qk");
  p.head_dim_v = checked_int(v.head_dim, kMaxHeadDim, "head_dim_v");
}

void describe_packed(AttentionProblem& p, const AttentionTensors& t, const AttentionOptions& options,
                     bool require_data) {
  const TensorView& cu_q = t.cu_seqlens_q;
  check(cu_q.present(), kBad, "cu_seqlens_q", "cu_seqlens_q is missing; layout thd needs it");
  check(cu_q.ndim == 1 && cu_q.shape[0] >= 1, kBad, "cu_seqlens_q", "cu_seqlens_q has shape {}, must be (batch + 1,)",
        shape_text(cu_q));
  constexpr const char* kMeaning = "batch + 1 ascending offsets";
  p.batch = checked_int(cu_q.shape[0] - 1, kIntLimit, "batch");
  check_vector({"cu_seqlens_q", &cu_q}, t.q, cu_q.shape[0], kMeaning, require_data);
  const bool on_cpu = t.q.device.kind == DeviceKind::kCPU;
  p.total_q = checked_int(t.q.shape[0], kIntLimit, "total_q");
  p.seqlen_q =
      packed_max_seqlen({"cu_seqlens_q", &cu_q}, p.total_q, options.max_seqlen_q, "max_seqlen_q", on_cpu && cu_q.data);
  p.is_packed_q = true;
  if (t.page_table.present()) return;
  const TensorView& cu_k = t.cu_seqlens_k;
  check(cu_k.present(), kBad, "cu_seqlens_k", "cu_seqlens_k is missing; layout thd needs it");
  check_vector({"cu_seqlens_k", &cu_k}, t.q, cu_q.shape[0], kMeaning, require_data);
  p.total_k = checked_int(t.k.shape[0], kIntLimit, "total_k");
  p.seqlen_k =
      packed_max_seqlen({"cu_seqlens_k", &cu_k}, p.total_k, options.max_seqlen_k, "max_seqlen_k", on_cpu && cu_k.data);
  p.kv_layout = KeyValueLayout::kPacked;
}

void describe_padded(AttentionProblem& p, const AttentionTensors& t, Layout layout) {
  check(!t.cu_seqlens_q.present() && !t.cu_seqlens_k.present(), kBad, "cu_seqlens_q",
        "cu_seqlens are for packed sequences; set layout thd, or pass seq_lens for padded ones");
  const TensorRows q = rows_of(t.q, layout);
  p.batch = checked_int(q.batch, kIntLimit, "batch");
  p.seqlen_q = checked_int(q.seqlen, kMaxSeqlen, "seqlen_q");
  p.total_q = std::int64_t{p.batch} * p.seqlen_q;
  if (t.page_table.present()) return;
  p.seqlen_k = checked_int(rows_of(t.k, layout).seqlen, kMaxSeqlen, "seqlen_k");
  p.total_k = std::int64_t{p.batch} * p.seqlen_k;
}

void describe_pages(AttentionProblem& p, const AttentionTensors& t) {
  const TensorView& table = t.page_table;
  check(table.ndim == 2 && table.shape[0] == p.batch && table.dtype == DType::kI32, kBad, "page_table",
        "page_table has shape {}, must be (batch = {}, pages) int32", shape_text(table), p.batch);
  check_extent({"page_table", &table});
  p.kv_layout = KeyValueLayout::kPaged;
  p.page_size = checked_int(t.k.shape[1], kMaxSeqlen, "page_size");
  p.seqlen_k = checked_int(checked_product({table.shape[1], p.page_size}).value_or(-1), kMaxSeqlen, "seqlen_k");
  p.total_k = std::int64_t{p.batch} * p.seqlen_k;
}

void describe_lengths(AttentionProblem& p, const AttentionTensors& t, bool require_data) {
  for (const auto& [name, tensor, flag] :
       {std::tuple{"seq_lens_q", &t.seq_lens_q, &p.has_seq_lens_q}, {"seq_lens_k", &t.seq_lens_k, &p.has_seq_lens_k}}) {
    if (!tensor->present()) continue;
    check_extent({name, tensor});
    check_vector({name, tensor}, t.q, p.batch, "one length per sequence", require_data);
    *flag = true;
  }
}

void describe_lse(AttentionProblem& p, const AttentionTensors& t, bool require_data) {
  if (!t.lse.present()) return;
  p.wants_lse = true;
  check_extent({"lse", &t.lse});
  check(t.lse.dtype == DType::kF32, kBad, "lse", "lse has dtype {}, must be fp32", name_of(t.lse.dtype));
  check_device({"lse", &t.lse}, {"q", &t.q});
  const bool fits = p.is_packed_q ? t.lse.ndim == 2 && t.lse.shape[0] == p.num_heads_q && t.lse.shape[1] == p.total_q
                                  : t.lse.ndim == 3 && t.lse.shape[0] == p.batch && t.lse.shape[1] == p.num_heads_q &&
                                        t.lse.shape[2] == p.seqlen_q;
  check(fits, kBad, "lse", "lse has shape {}, must be {}", shape_text(t.lse),
        p.is_packed_q ? "(num_heads_q, total_q)" : "(batch, num_heads_q, seqlen_q)");
  const int last = t.lse.ndim - 1;
  check(t.lse.shape[last] <= 1 || t.lse.strides[last] == 1, kBad, "lse",
        "lse has stride {} in its last dimension, must be 1", t.lse.strides[last]);
  check(!require_data || t.lse.data || extent_bytes(t.lse) == 0, kBad, "lse", "lse has null data");
}

/// Outputs must be memory of their own: no overlap with an input or with each other, and no two rows at one address.
void check_outputs(const AttentionTensors& t) {
  const Named all[] = {{"q", &t.q},
                       {"k", &t.k},
                       {"v", &t.v},
                       {"o", &t.o},
                       {"lse", &t.lse},
                       {"seq_lens_q", &t.seq_lens_q},
                       {"seq_lens_k", &t.seq_lens_k},
                       {"cu_seqlens_q", &t.cu_seqlens_q},
                       {"cu_seqlens_k", &t.cu_seqlens_k},
                       {"page_table", &t.page_table}};
  for (const Named& out : {all[3], all[4]}) check_output(out, all);
}

int alignment_of(const AttentionTensors& t, Layout layout, bool paged) {
  std::uint64_t bits = 16;
  for (const auto& [tensor, tensor_layout] : {std::pair{&t.q, layout},
                                              {&t.k, paged ? Layout::kBSHD : layout},
                                              {&t.v, paged ? Layout::kBSHD : layout},
                                              {&t.o, layout}}) {
    const TensorRows r = rows_of(*tensor, tensor_layout);
    const auto element = static_cast<std::uint64_t>(size_bytes(tensor->dtype));
    bits |= reinterpret_cast<std::uintptr_t>(tensor->data);
    if (r.batch > 1) bits |= static_cast<std::uint64_t>(r.stride_batch) * element;
    if (r.seqlen > 1) bits |= static_cast<std::uint64_t>(r.stride_row) * element;
    if (r.num_heads > 1) bits |= static_cast<std::uint64_t>(r.stride_head) * element;
  }
  return static_cast<int>(bits & (~bits + 1));
}

}  // namespace

TensorRows rows_of(const TensorView& t, Layout layout) {
  if (layout == Layout::kTHD) return {1, t.shape[0], t.shape[1], t.shape[2], 0, t.strides[0], t.strides[1]};
  const int row = layout == Layout::kBSHD ? 1 : 2;
  const int head = 3 - row;
  return {t.shape[0], t.shape[row], t.shape[head], t.shape[3], t.strides[0], t.strides[row], t.strides[head]};
}

AttentionProblem describe_attention(const AttentionTensors& t, const AttentionOptions& options, bool require_data) {
  check(options.layout <= Layout::kTHD, kBad, "layout", "layout is {}, must be bshd, bhsd or thd",
        static_cast<int>(options.layout));
  check(options.alignment <= MaskAlignment::kTopLeft, kBad, "alignment", "alignment must be bottom-right or top-left");
  check(options.math <= Math::kFast, kBad, "math", "math must be exact or fast");
  const bool paged = t.page_table.present();
  for (const auto& [n, kv] : {std::pair{Named{"q", &t.q}, false},
                              {Named{"k", &t.k}, paged},
                              {Named{"v", &t.v}, paged},
                              {Named{"o", &t.o}, false}}) {
    check_main_tensor(n, t.q, options.layout, kv, require_data);
  }
  AttentionProblem p;
  p.device = t.q.device;
  p.dtype = t.q.dtype;
  p.math = options.math;
  p.deterministic = options.deterministic;
  describe_heads(p, t, options.layout);
  if (options.layout == Layout::kTHD) {
    describe_packed(p, t, options, require_data);
  } else {
    describe_padded(p, t, options.layout);
  }
  if (paged) describe_pages(p, t);
  describe_lengths(p, t, require_data);
  describe_lse(p, t, require_data);
  check_outputs(t);
  p.mask = mask_rule(options);
  p.softmax_scale = options.softmax_scale.value_or(1.0f / std::sqrt(static_cast<float>(p.head_dim_qk)));
  check(std::isfinite(p.softmax_scale), kBad, "softmax_scale", "softmax_scale is {}, must be finite", p.softmax_scale);
  check(std::isfinite(options.softcap) && options.softcap >= 0.0f, kBad, "softcap",
        "softcap is {}, must be positive, or 0 for none", options.softcap);
  p.softcap = options.softcap;
  const AttentionTile& tile = options.tile;
  check(tile.block_q >= 0 && tile.block_k >= 0 && tile.stages >= 0 && tile.warps >= 0, kBad, "tile",
        "tile is {} x {}, {} stages, {} warps; sizes must not be negative, 0 leaves the choice to the library",
        tile.block_q, tile.block_k, tile.stages, tile.warps);
  p.alignment_bytes = alignment_of(t, options.layout, paged);
  return p;
}

}  // namespace fovea
