// SPDX-License-Identifier: Apache-2.0
// Every misuse of a call is one error that names the field, what it got, what it wanted, and the way out.
#include "problem/describe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "fovea/error.h"

namespace fovea {
namespace {

/// A legal call on real memory, to be spoilt in one place.
struct Call {
  std::vector<float> memory = std::vector<float>(4 * 4096);
  AttentionTensors t;
  AttentionOptions o;
  Call() {
    float* p = memory.data();
    t.q = TensorView::contiguous(p, DType::kF32, {2, 3, 4, 8});
    t.k = TensorView::contiguous(p + 4096, DType::kF32, {2, 5, 2, 8});
    t.v = TensorView::contiguous(p + 2 * 4096, DType::kF32, {2, 5, 2, 8});
    t.o = TensorView::contiguous(p + 3 * 4096, DType::kF32, {2, 3, 4, 8});
  }
};

struct Misuse {
  const char* name;
  const char* field;
  const char* text;  // must be in the message
  std::function<void(Call&)> spoil;
};

const std::vector<int> kLengths = {1, 2};
const std::vector<int> kOffsets = {0, 2, 3};
TensorView ints(const std::vector<int>& v) {
  return TensorView::contiguous(const_cast<int*>(v.data()), DType::kI32, {static_cast<std::int64_t>(v.size())});
}
void make_packed(Call& c) {
  float* p = c.memory.data();
  c.o.layout = Layout::kTHD;
  c.t.q = TensorView::contiguous(p, DType::kF32, {3, 4, 8});
  c.t.k = TensorView::contiguous(p + 4096, DType::kF32, {3, 2, 8});
  c.t.v = TensorView::contiguous(p + 2 * 4096, DType::kF32, {3, 2, 8});
  c.t.o = TensorView::contiguous(p + 3 * 4096, DType::kF32, {3, 4, 8});
  c.t.cu_seqlens_q = ints(kOffsets);
  c.t.cu_seqlens_k = ints(kOffsets);
}
void make_packed_with(Call& c, const std::vector<int>& offsets) {
  make_packed(c);
  c.t.cu_seqlens_q = ints(offsets);
}
const std::vector<int> kDescending = {0, 3, 2}, kShort = {0, 1, 2}, kNotFromZero = {1, 2, 3};

constexpr auto kHuge = std::numeric_limits<std::int64_t>::max() / 2;

const Misuse kMisuses[] = {
    {"q missing", "q", "missing", [](Call& c) { c.t.q = {}; }},
    {"o missing", "o", "missing", [](Call& c) { c.t.o = {}; }},
    {"three dimensions", "k", "must have 4", [](Call& c) { c.t.k.ndim = 3; }},
    {"absurd ndim", "k", "must have 4", [](Call& c) { c.t.k.ndim = 1 << 20; }},
    {"negative ndim", "q", "must have 4", [](Call& c) { c.t.q.ndim = -1; }},
    {"integers", "q", "must be fp32, fp16 or bf16", [](Call& c) { c.t.q.dtype = DType::kI32; }},
    {"mixed dtypes", "v", "q has fp32", [](Call& c) { c.t.v.dtype = DType::kBF16; }},
    {"other device", "k", "another device",
     [](Call& c) {
       c.t.k.device = {DeviceKind::kCUDA, 0};
     }},
    {"batch differs", "k", "batch", [](Call& c) { c.t.k.shape[0] = 1; }},
    {"v shorter than k", "v", "agree with k", [](Call& c) { c.t.v.shape[1] = 4; }},
    {"head_dim differs", "k", "head_dim 4", [](Call& c) { c.t.k.shape[3] = 4; }},
    {"head_dim zero", "q", "at least 1", [](Call& c) { c.t.q.shape[3] = c.t.k.shape[3] = 0; }},
    {"heads do not divide", "k", "multiple", [](Call& c) { c.t.q.shape[2] = c.t.o.shape[2] = 3; }},
    {"kv heads zero", "k", "multiple", [](Call& c) { c.t.k.shape[2] = c.t.v.shape[2] = 0; }},
    {"o of another shape", "o", "must be that of q", [](Call& c) { c.t.o.shape[3] = 4; }},
    {"negative size", "q", "not be negative", [](Call& c) { c.t.q.shape[1] = -3; }},
    {"negative stride", "q", "negative stride", [](Call& c) { c.t.q.strides[1] = -32; }},
    {"last stride 2", "q", "must be 1", [](Call& c) { c.t.q.strides[3] = 2; }},
    {"sizes overflow", "q", "reaches beyond", [](Call& c) { c.t.q.shape[1] = kHuge; }},
    {"count overflows through stride 0", "q", "more than 2^63",
     [](Call& c) { c.t.q.shape[0] = c.t.q.shape[1] = kHuge, c.t.q.strides[0] = c.t.q.strides[1] = 0; }},
    {"sequence too long", "seqlen_q", "must be from 0 to",
     [](Call& c) { c.t.q.shape[1] = c.t.o.shape[1] = std::int64_t{1} << 33; }},
    {"null data", "q", "null data", [](Call& c) { c.t.q.data = nullptr; }},
    {"misaligned", "k", "multiple of its 4-byte elements",
     [](Call& c) { c.t.k.data = static_cast<char*>(c.t.k.data) + 2; }},
    {"o is q", "o", "overlaps q", [](Call& c) { c.t.o.data = c.t.q.data; }},
    {"o reaches into v", "o", "overlaps v", [](Call& c) { c.t.o.data = static_cast<float*>(c.t.v.data) + 100; }},
    {"o broadcast", "o", "stride 0", [](Call& c) { c.t.o.strides[0] = 0; }},
    {"lse of another shape", "lse", "(batch, num_heads_q, seqlen_q)",
     [](Call& c) {
       c.t.lse = TensorView::contiguous(c.memory.data() + 3 * 4096 + 2048, DType::kF32, {2, 3, 4});
     }},
    {"lse in half", "lse", "must be fp32",
     [](Call& c) {
       c.t.lse = TensorView::contiguous(c.memory.data() + 3 * 4096 + 2048, DType::kF16, {2, 4, 3});
     }},
    {"seq_lens too few", "seq_lens_k", "one length per sequence", [](Call& c) { c.t.seq_lens_k = ints(kOffsets); }},
    {"seq_lens floating", "seq_lens_q", "must be int32",
     [](Call& c) { c.t.seq_lens_q = ints(kLengths), c.t.seq_lens_q.dtype = DType::kF32; }},
    {"cu_seqlens with padded layout", "cu_seqlens_q", "layout thd", [](Call& c) { c.t.cu_seqlens_q = ints(kOffsets); }},
    {"packed without cu_seqlens_q", "cu_seqlens_q", "missing", [](Call& c) { make_packed(c), c.t.cu_seqlens_q = {}; }},
    {"packed without cu_seqlens_k", "cu_seqlens_k", "missing", [](Call& c) { make_packed(c), c.t.cu_seqlens_k = {}; }},
    {"cu_seqlens descend", "cu_seqlens_q", "less than the entry before",
     [](Call& c) { make_packed_with(c, kDescending); }},
    {"cu_seqlens end early", "cu_seqlens_q", "ends at 2", [](Call& c) { make_packed_with(c, kShort); }},
    {"cu_seqlens start late", "cu_seqlens_q", "must be 0", [](Call& c) { make_packed_with(c, kNotFromZero); }},
    {"cu_seqlens of other batch", "cu_seqlens_k", "batch + 1",
     [](Call& c) { make_packed(c), c.t.cu_seqlens_k = ints(kLengths); }},
    {"max_seqlen too small", "max_seqlen_q", "holds a sequence of 2",
     [](Call& c) { make_packed(c), c.o.max_seqlen_q = 1; }},
    {"max_seqlen negative", "max_seqlen_k", "not be negative", [](Call& c) { make_packed(c), c.o.max_seqlen_k = -1; }},
    {"negative window", "window_left", "not be negative", [](Call& c) { c.o.window_left = -1; }},
    {"NaN scale", "softmax_scale", "finite", [](Call& c) { c.o.softmax_scale = NAN; }},
    {"negative softcap", "softcap", "positive", [](Call& c) { c.o.softcap = -1.0f; }},
    {"negative tile", "tile", "not be negative", [](Call& c) { c.o.tile.block_q = -16; }},
    {"layout out of range", "layout", "bshd, bhsd or thd", [](Call& c) { c.o.layout = static_cast<Layout>(7); }},
    {"page table of other batch", "page_table", "must be (batch",
     [](Call& c) {
       c.t.page_table = TensorView::contiguous(const_cast<int*>(kOffsets.data()), DType::kI32, {3, 1});
     }},
};

TEST(Describe, every_misuse_is_one_error_that_names_the_field) {
  for (const Misuse& misuse : kMisuses) {
    Call call;
    misuse.spoil(call);
    try {
      describe_attention(call.t, call.o);
      ADD_FAILURE() << misuse.name << ": accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << misuse.name;
      EXPECT_EQ(error.field(), misuse.field) << misuse.name << ": " << error.what();
      EXPECT_NE(std::string(error.what()).find(misuse.text), std::string::npos) << misuse.name << ": " << error.what();
    }
  }
}

TEST(Describe, a_legal_call_is_described) {
  Call call;
  call.o.causal = true;
  const AttentionProblem p = describe_attention(call.t, call.o);
  EXPECT_EQ(to_string(p), "forward fp32 b=2 sq=3 sk=5 h=4/2 d=8 causal");
  EXPECT_FLOAT_EQ(p.softmax_scale, 1.0f / std::sqrt(8.0f));
  // 3 rows see 3, 4 and 5 keys; 2 * (8 + 8) operations each; 2 sequences, 4 heads.
  EXPECT_DOUBLE_EQ(attention_flops(p), 12.0 * 32 * 2 * 4);
}

TEST(Describe, packed_sequences_take_their_longest_from_the_offsets) {
  Call call;
  make_packed(call);
  const AttentionProblem p = describe_attention(call.t, call.o);
  EXPECT_EQ(p.batch, 2);
  EXPECT_EQ(p.seqlen_q, 2);
  EXPECT_EQ(p.total_q, 3);
  EXPECT_EQ(p.kv_layout, KeyValueLayout::kPacked);
}

TEST(Describe, a_window_with_causal_closes_the_right_side) {
  Call call;
  call.o.causal = true;
  call.o.window_left = 4;
  call.o.window_right = 9;
  const AttentionProblem p = describe_attention(call.t, call.o);
  EXPECT_EQ(p.mask.kind, MaskKind::kWindow);
  EXPECT_EQ(p.mask.window_right, 0);
}

TEST(Describe, alignment_is_that_of_the_worst_stride) {
  Call call;
  EXPECT_EQ(describe_attention(call.t, call.o).alignment_bytes, 16);
  call.t.k.strides[1] = 17;
  EXPECT_EQ(describe_attention(call.t, call.o).alignment_bytes, 4);
}

TEST(Describe, broadcast_inputs_are_legal) {
  Call call;
  call.t.k.strides[2] = 0;  // one kv head shown as two
  EXPECT_EQ(describe_attention(call.t, call.o).num_heads_kv, 2);
}

}  // namespace
}  // namespace fovea
