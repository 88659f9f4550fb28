// SPDX-License-Identifier: Apache-2.0
// A call of attention from random bytes: first a sound one, then up to eight fields spoilt, so that the checks behind
// the first are reached too. describe_attention must accept it or throw fovea::Error, and must read no data but
// cu_seqlens on a CPU: every other pointer here points nowhere.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "fovea/attention.h"
#include "fovea/error.h"
#include "problem/arguments.h"
#include "problem/attention_problem.h"
#include "problem/describe.h"

namespace fovea::fuzz {

/// Hands out the input's bytes, then zeros.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }

  template <typename T>
  T take() {
    T value = {};
    const std::size_t n = std::min(sizeof value, bytes_.size());
    if (n > 0) std::memcpy(&value, bytes_.data(), n);
    bytes_ = bytes_.subspan(n);
    return value;
  }
  /// 0 … count - 1
  int choice(int count) { return take<std::uint8_t>() % count; }
  bool flag() { return choice(2) == 1; }
  /// Small, at the edges of the integer types, or anything.
  std::int64_t number() {
    constexpr std::int64_t kEdges[] = {-1,
                                       1 << 20,
                                       (1 << 30) - 1,
                                       1 << 30,
                                       (1ll << 31) - 1,
                                       1ll << 31,
                                       1ll << 32,
                                       1ll << 60,
                                       1ll << 62,
                                       std::numeric_limits<std::int64_t>::max(),
                                       std::numeric_limits<std::int64_t>::min()};
    switch (choice(3)) {
      case 0: return choice(9);
      case 1: return kEdges[choice(static_cast<int>(std::size(kEdges)))];
      default: return take<std::int64_t>();
    }
  }

 private:
  std::span<const std::byte> bytes_;
};

struct RandomCall {
  AttentionTensors tensors;
  AttentionOptions options;
  std::vector<std::int32_t> cu_seqlens_q, cu_seqlens_k;
};

inline void* nowhere(Bytes& bytes) { return std::bit_cast<void*>(bytes.take<std::uint64_t>() & ~std::uint64_t{15}); }

inline TensorView sound_tensor(Bytes& bytes, Layout layout, DType dtype, Device device, const std::int64_t* bshd) {
  const std::int64_t b = bshd[0], s = bshd[1], h = bshd[2], d = bshd[3];
  void* const data = nowhere(bytes);
  switch (layout) {
    case Layout::kBHSD: return TensorView::contiguous(data, dtype, {b, h, s, d}, device);
    case Layout::kTHD: return TensorView::contiguous(data, dtype, {b * s, h, d}, device);
    case Layout::kBSHD: break;
  }
  return TensorView::contiguous(data, dtype, {b, s, h, d}, device);
}

/// Offsets that ascend to total; the memory has exactly the size of the view.
inline TensorView sound_offsets(Bytes& bytes, std::vector<std::int32_t>& values, std::int64_t batch,
                                std::int64_t seqlen, Device device) {
  for (std::int64_t b = 0; b <= batch; ++b) values.push_back(static_cast<std::int32_t>(b * seqlen));
  void* const data = device.kind == DeviceKind::kCPU ? values.data() : nowhere(bytes);
  return TensorView::contiguous(data, DType::kI32, {batch + 1}, device);
}

inline RandomCall sound_call(Bytes& bytes) {
  RandomCall call;
  AttentionTensors& t = call.tensors;
  const auto layout = static_cast<Layout>(bytes.choice(3));
  const auto dtype = static_cast<DType>(bytes.choice(3));
  const Device device = {bytes.flag() ? DeviceKind::kCUDA : DeviceKind::kCPU, bytes.choice(2)};
  const std::int64_t batch = bytes.choice(4), seqlen_q = bytes.choice(6), seqlen_k = bytes.choice(6);
  const std::int64_t heads_kv = 1 + bytes.choice(3), heads_q = heads_kv * (1 + bytes.choice(3));
  const std::int64_t dim = 1 + bytes.choice(64), dim_v = bytes.choice(64);
  const auto tensor = [&](std::int64_t s, std::int64_t h, std::int64_t d) {
    const std::int64_t shape[] = {batch, s, h, d};
    return sound_tensor(bytes, layout, dtype, device, shape);
  };
  t.q = tensor(seqlen_q, heads_q, dim);
  t.k = tensor(seqlen_k, heads_kv, dim);
  t.v = tensor(seqlen_k, heads_kv, dim_v);
  t.o = tensor(seqlen_q, heads_q, dim_v);
  if (layout == Layout::kTHD) {
    t.cu_seqlens_q = sound_offsets(bytes, call.cu_seqlens_q, batch, seqlen_q, device);
    t.cu_seqlens_k = sound_offsets(bytes, call.cu_seqlens_k, batch, seqlen_k, device);
    call.options.max_seqlen_q = static_cast<int>(seqlen_q);
    call.options.max_seqlen_k = static_cast<int>(seqlen_k);
  }
  if (bytes.flag()) {
    t.lse = layout == Layout::kTHD
                ? TensorView::contiguous(nowhere(bytes), DType::kF32, {heads_q, batch * seqlen_q}, device)
                : TensorView::contiguous(nowhere(bytes), DType::kF32, {batch, heads_q, seqlen_q}, device);
  }
  if (bytes.flag()) t.seq_lens_q = TensorView::contiguous(nowhere(bytes), DType::kI32, {batch}, device);
  if (bytes.flag()) t.seq_lens_k = TensorView::contiguous(nowhere(bytes), DType::kI32, {batch}, device);
  call.options.layout = layout;
  call.options.causal = bytes.flag();
  return call;
}

/// is_read: the view's data is read, so its pointer and extent stay as they are.
inline void spoil_tensor(Bytes& bytes, TensorView& t, bool is_read) {
  const int d = bytes.choice(TensorView::kMaxDims);
  switch (bytes.choice(8)) {
    case 0: t.dtype = static_cast<DType>(bytes.take<std::uint8_t>()); break;
    case 1: t.device = {is_read ? DeviceKind::kCUDA : static_cast<DeviceKind>(bytes.choice(2)), bytes.choice(4)}; break;
    case 2: t.ndim = bytes.flag() ? bytes.choice(8) - 1 : bytes.take<std::int32_t>(); break;
    case 3:
    case 4:
      if (!is_read) t.shape[d] = bytes.number();
      break;
    case 5:
    case 6: t.strides[d] = bytes.number(); break;
    case 7:
      if (!is_read) t.data = bytes.flag() ? nullptr : std::bit_cast<void*>(bytes.take<std::uint64_t>());
      break;
  }
}

inline void spoil_options(Bytes& bytes, AttentionOptions& o) {
  switch (bytes.choice(12)) {
    case 0: o.layout = static_cast<Layout>(bytes.take<std::uint8_t>()); break;
    case 1: o.window_left = bytes.flag() ? bytes.choice(9) : bytes.take<std::int32_t>(); break;
    case 2: o.window_right = bytes.flag() ? bytes.choice(9) : bytes.take<std::int32_t>(); break;
    case 3: o.alignment = static_cast<MaskAlignment>(bytes.choice(4)); break;
    case 4: o.softmax_scale = bytes.take<float>(); break;
    case 5: o.softcap = bytes.take<float>(); break;
    case 6: o.max_seqlen_q = bytes.take<std::int32_t>(); break;
    case 7: o.max_seqlen_k = bytes.take<std::int32_t>(); break;
    case 8: o.math = static_cast<Math>(bytes.choice(4)); break;
    case 9: o.tile = {bytes.take<std::int32_t>(), bytes.choice(99), bytes.choice(9), bytes.choice(9)}; break;
    case 10: o.causal = bytes.flag(); break;
    case 11: o.deterministic = bytes.flag(); break;
  }
}

inline void spoil(Bytes& bytes, RandomCall& call) {
  AttentionTensors& t = call.tensors;
  TensorView* const tensors[] = {
      &t.q, &t.k, &t.v, &t.o, &t.lse, &t.seq_lens_q, &t.seq_lens_k, &t.cu_seqlens_q, &t.cu_seqlens_k, &t.page_table};
  const int which = bytes.choice(14);
  if (which < 10) {
    const bool is_read = tensors[which] == &t.cu_seqlens_q || tensors[which] == &t.cu_seqlens_k;
    return spoil_tensor(bytes, *tensors[which], is_read);
  }
  if (which < 12) return spoil_options(bytes, call.options);
  std::vector<std::int32_t>& offsets = which == 12 ? call.cu_seqlens_q : call.cu_seqlens_k;
  if (!offsets.empty())
    offsets[static_cast<std::size_t>(bytes.choice(static_cast<int>(offsets.size())))] =
        static_cast<std::int32_t>(bytes.number());
}

inline void expect_of(const AttentionProblem& p, bool promise, const char* what) {
  if (promise) return;
  std::fprintf(stderr, "accepted: %s\nbut not so: %s\n", to_string(p).c_str(), what);
  std::abort();
}

/// Whatever is accepted must be fit for everything that planning does with it.
inline void use_problem(const RandomCall& call, const AttentionProblem& p) {
  expect_of(p, p.batch >= 0 && p.num_heads_q >= 0 && p.num_heads_kv >= 0, "batch and heads are not negative");
  expect_of(p, p.seqlen_q >= 0 && p.seqlen_q <= kMaxSeqlen && p.seqlen_k >= 0 && p.seqlen_k <= kMaxSeqlen, "seqlen");
  expect_of(p, p.total_q >= 0 && p.total_k >= 0, "totals are not negative");
  expect_of(p, p.head_dim_qk > 0 && p.head_dim_v >= 0, "head_dim");
  expect_of(p, p.alignment_bytes > 0 && p.alignment_bytes <= 16, "alignment");
  expect_of(p, p.mask.window_left >= 0 && p.mask.window_left <= kWindowOpen, "window_left");
  expect_of(p, p.mask.window_right >= 0 && p.mask.window_right <= kWindowOpen, "window_right");
  expect_of(p, attention_flops(p) >= 0, "flops are a number");
  expect_of(p, hash_of(p) == hash_of(AttentionProblem(p)), "the hash is a function of the problem");
  if (p.kv_layout != KeyValueLayout::kPaged) attention_args(call.tensors, call.options.layout, p);
}

inline void describe_bytes(std::span<const std::byte> input) {
  Bytes bytes(input);
  RandomCall call = sound_call(bytes);
  for (int i = 0; i < 8 && !bytes.empty(); ++i) spoil(bytes, call);
  for (const bool require_data : {true, false}) {
    try {
      use_problem(call, describe_attention(call.tensors, call.options, require_data));
    } catch (const Error& error) {
      if (*error.what() == '\0' || error.field().empty()) std::abort();
    }
  }
}

}  // namespace fovea::fuzz
