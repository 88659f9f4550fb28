// SPDX-License-Identifier: Apache-2.0
// Every unit of attention kernels, task by task, against two plain loops: in double, and the plain method in the
// input's precision, whose error sets the tolerance. Tensors end at an unmapped page and have NaN between their rows.
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "cpu/processor.h"
#include "cpu/simd/portable.h"
#include "verify/compare.h"
#include "verify/tolerance.h"

namespace fovea::cpu {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::string name;
  int batch = 1, seqlen_q = 64, seqlen_k = 64, heads_q = 2, heads_kv = 1, head_dim_qk = 64, head_dim_v = 64;
  MaskRule mask;
  float softcap = 0.0f;
  float scale = 0.0f;  // 0: 1/sqrt(head_dim_qk)
  bool lengths = false;
  bool packed = false;
  bool split = false;       // two partial states, merged here
  int pad = 0;              // elements between rows, NaN
  bool hidden_nan = false;  // NaN and inf in all keys that no row or not every row sees
  float magnitude = 1.0f;
  bool wants_lse = true;
};

/// Elements whose last one is followed by an unmapped page.
class Guarded {
 public:
  Guarded(size_t count, DType dtype) : dtype_(dtype), count_(count) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = count * static_cast<size_t>(size_bytes(dtype));
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + mapped_ - page, page, PROT_NONE);
    data_ = base_ + mapped_ - page - bytes;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }
  void* data() const { return data_; }
  size_t count() const { return count_; }
  float get(size_t i) const {
    if (dtype_ == DType::kF32) return reinterpret_cast<float*>(data_)[i];
    if (dtype_ == DType::kF16) return baseline::to_float(reinterpret_cast<Half*>(data_)[i]);
    return baseline::to_float(reinterpret_cast<Bfloat16*>(data_)[i]);
  }
  void set(size_t i, float x) {
    if (dtype_ == DType::kF32) {
      reinterpret_cast<float*>(data_)[i] = x;
    } else if (dtype_ == DType::kF16) {
      baseline::from_float(x, reinterpret_cast<Half*>(data_) + i);
    } else {
      baseline::from_float(x, reinterpret_cast<Bfloat16*>(data_) + i);
    }
  }

 private:
  DType dtype_;
  size_t count_, mapped_;
  char* base_;
  char* data_;
};

float round_to(DType dtype, float x) {
  if (dtype == DType::kF16) {
    Half h;
    baseline::from_float(x, &h);
    return baseline::to_float(h);
  }
  if (dtype == DType::kBF16) {
    Bfloat16 b;
    baseline::from_float(x, &b);
    return baseline::to_float(b);
  }
  return x;
}

/// (rows, heads, dim + pad) without the last row's pad; a batch is rows too.
struct Tensor {
  Tensor(DType dtype, int rows, int num_heads, int head_dim, int pad)
      : heads(num_heads),
        dim(head_dim),
        row_stride(static_cast<Int64>(num_heads) * (head_dim + pad)),
        data(rows == 0 ? 0 : static_cast<size_t>(rows * row_stride - pad), dtype) {
    for (size_t i = 0; i < data.count(); ++i) data.set(i, kNaN);
  }
  Int64 head_stride() const { return row_stride / heads; }
  size_t at(Int64 row, int head, int d) const {
    return static_cast<size_t>(row * row_stride + head * head_stride() + d);
  }
  float get(Int64 row, int head, int d) const { return data.get(at(row, head, d)); }
  int heads, dim;
  Int64 row_stride;
  Guarded data;
};

struct Run {
  Run(const Case& the_case, DType t)
      : c(the_case),
        dtype(t),
        rows_q(c.batch * c.seqlen_q),
        rows_k(c.batch * c.seqlen_k),
        q(t, rows_q, c.heads_q, c.head_dim_qk, c.pad),
        k(t, rows_k, c.heads_kv, c.head_dim_qk, c.pad),
        v(t, rows_k, c.heads_kv, c.head_dim_v, c.pad),
        o(t, rows_q, c.heads_q, c.head_dim_v, c.pad),
        lse(static_cast<size_t>(rows_q) * static_cast<size_t>(c.heads_q), kNaN) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (Tensor* x : {&q, &k, &v}) {
      for (int row = 0; row < (x == &q ? rows_q : rows_k); ++row) {
        for (int h = 0; h < x->heads; ++h) {
          for (int d = 0; d < x->dim; ++d) x->data.set(x->at(row, h, d), c.magnitude * normal(random));
        }
      }
    }
    set_args();
  }

  void set_args() {
    const Int64 q_batch = c.packed ? 0 : c.seqlen_q, k_batch = c.packed ? 0 : c.seqlen_k;
    args.query = {q.data.data(), q_batch * q.row_stride, q.row_stride, q.head_stride(), c.seqlen_q};
    args.kv.k = k.data.data();
    args.kv.v = v.data.data();
    args.kv.k_stride_batch = k_batch * k.row_stride;
    args.kv.k_stride_row = k.row_stride;
    args.kv.k_stride_head = k.head_stride();
    args.kv.v_stride_batch = k_batch * v.row_stride;
    args.kv.v_stride_row = v.row_stride;
    args.kv.v_stride_head = v.head_stride();
    args.kv.seqlen = c.seqlen_k;
    args.output = {o.data.data(), q_batch * o.row_stride, o.row_stride, o.head_stride(), lse.data(), 0, rows_q};
    args.output.lse_stride_batch = c.packed ? 0 : c.seqlen_q;
    if (!c.wants_lse) args.output.lse = nullptr;
    args.mask = c.mask;
    args.batch = c.batch;
    args.num_heads_q = c.heads_q;
    args.num_heads_kv = c.heads_kv;
    args.head_dim_qk = c.head_dim_qk;
    args.head_dim_v = c.head_dim_v;
    args.softmax_scale = c.scale != 0.0f ? c.scale : 1.0f / std::sqrt(static_cast<float>(c.head_dim_qk));
    args.softcap = c.softcap;
    for (int b = 0; b <= c.batch; ++b) {  // uneven, the ends 0 and all rows
      cu_q.push_back(b == 0 ? 0 : b == c.batch ? rows_q : b * c.seqlen_q - c.seqlen_q / 2);
      cu_k.push_back(b == 0 ? 0 : b == c.batch ? rows_k : b * c.seqlen_k - c.seqlen_k / 3);
      len_q.push_back(c.seqlen_q - b * c.seqlen_q / (c.batch + 1));
      len_k.push_back(b == 1 ? 0 : c.seqlen_k - b * c.seqlen_k / (c.batch + 2));
    }
    if (c.packed) {
      args.query.cu_seqlens = cu_q.data();
      args.kv.cu_seqlens = cu_k.data();
    }
    if (c.lengths) {
      args.query.seq_lens = len_q.data();
      args.kv.seq_lens = len_k.data();
    }
  }

  float& lse_at(int b, int head, Int64 row) {
    return lse[static_cast<size_t>(b * args.output.lse_stride_batch + head * args.output.lse_stride_head + row)];
  }

  Case c;
  DType dtype;
  int rows_q, rows_k;
  Tensor q, k, v, o;
  std::vector<float> lse;
  std::vector<int> cu_q, cu_k, len_q, len_k;
  AttentionArgs args;
};

/// One row by the definition. Real = double, or float with weights and result rounded to the dtype: the plain method.
template <typename Real>
std::vector<double> plain_row(const Run& r, int b, int head, int row, double* lse) {
  const SequenceShape s = sequence_shape(r.args.query, r.args.kv, b);
  std::vector<double> o(static_cast<size_t>(r.c.head_dim_v), 0.0);
  *lse = -std::numeric_limits<double>::infinity();
  if (row >= s.seqlen_q) return o;
  const KeyInterval keys = visible_keys(r.c.mask.kind, sequence_mask(r.c.mask, s.seqlen_q, s.seqlen_k), row);
  if (keys.empty()) return o;
  const Int64 q_row = (r.c.packed ? 0 : Int64{b} * r.c.seqlen_q) + s.q_first + row;
  const Int64 k_row = (r.c.packed ? 0 : Int64{b} * r.c.seqlen_k) + s.k_first;
  const int head_kv = head / (r.c.heads_q / r.c.heads_kv);
  const bool rounds = sizeof(Real) == 4;
  std::vector<Real> score;
  Real greatest = -std::numeric_limits<Real>::infinity();
  for (int key = keys.begin; key < keys.end; ++key) {
    Real x = 0;
    for (int d = 0; d < r.c.head_dim_qk; ++d)
      x += Real(r.q.get(q_row, head, d)) * Real(r.k.get(k_row + key, head_kv, d));
    x *= Real(r.args.softmax_scale);
    if (r.c.softcap != 0.0f) x = Real(r.c.softcap) * std::tanh(x / Real(r.c.softcap));
    score.push_back(x);
    greatest = std::max(greatest, x);
  }
  Real sum = 0;
  for (Real& x : score) sum += x = std::exp(x - greatest);
  for (int c = 0; c < r.c.head_dim_v; ++c) {
    Real acc = 0;
    for (size_t j = 0; j < score.size(); ++j) {
      const Real p = rounds ? Real(round_to(r.dtype, float(score[j] / sum))) : score[j] / sum;
      acc += p * Real(r.v.get(k_row + keys.begin + static_cast<Int64>(j), head_kv, c));
    }
    o[static_cast<size_t>(c)] = rounds ? round_to(r.dtype, float(acc)) : double(acc);
  }
  *lse = double(greatest) + std::log(double(sum));
  return o;
}

AttentionConfig config_of(const Run& r) {
  AttentionConfig config;
  config.dtype = r.dtype;
  config.mask = r.c.mask.kind;
  config.head_dim_qk = r.c.head_dim_qk;
  config.head_dim_v = r.c.head_dim_v;
  return config;
}

struct Aligned {
  explicit Aligned(Int64 bytes) : p(aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64))) {
    std::memset(p, 0xff, static_cast<size_t>(bytes));  // NaN: what a kernel forgets to write shows
  }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  ~Aligned() { free(p); }
  void* p;
};

/// Two halves of the keys and the exact merge of their states.
void run_split(Run& r, const Kernels& kernels, const AttentionConfig& config, AttentionTask task, void* scratch) {
  const SequenceShape s = sequence_shape(r.args.query, r.args.kv, task.batch);
  const int rows = task.q_end - task.q_begin, heads = task.head_end - task.head_begin, dim = r.c.head_dim_v;
  const int cuts[3] = {0, s.seqlen_k / 3, std::max(1, s.seqlen_k)};
  std::vector<float> o[2], lse[2];
  for (int part = 0; part < 2; ++part) {
    o[part].assign(static_cast<size_t>(heads * rows * dim), kNaN);
    lse[part].assign(static_cast<size_t>(heads * rows), kNaN);
    task.k_begin = cuts[part];
    task.k_end = cuts[part + 1];
    task.partial_o = o[part].data();
    task.partial_lse = lse[part].data();
    kernels.attention_forward(r.args, config, task, scratch);
  }
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < std::min(rows, s.rows_q - task.q_begin); ++i) {
      const size_t at = static_cast<size_t>(h * rows + i);
      const float top = std::max(lse[0][at], lse[1][at]);
      const Int64 row = s.q_first + task.q_begin + i;
      float w[2] = {0, 0};
      for (int part = 0; part < 2; ++part) w[part] = top == -INFINITY ? 0.0f : std::exp(lse[part][at] - top);
      const float sum = w[0] + w[1];
      r.lse_at(task.batch, task.head_begin + h, row) = top == -INFINITY ? -INFINITY : top + std::log(sum);
      for (int c = 0; c < dim; ++c) {
        const size_t from = at * static_cast<size_t>(dim) + static_cast<size_t>(c);
        const Int64 batch_row = r.c.packed ? 0 : Int64{task.batch} * r.c.seqlen_q;
        r.o.data.set(r.o.at(batch_row + row, task.head_begin + h, c),
                     sum == 0 ? 0.0f : (w[0] * o[0][from] + w[1] * o[1][from]) / sum);
      }
    }
  }
}

/// kv_heads: of one task.
void run_kernels(Run& r, const Kernels& kernels, int kv_heads) {
  AttentionConfig config = config_of(r);
  const int group = kv_heads * (r.c.heads_q / r.c.heads_kv);
  kernels.attention_tile(&config, r.c.seqlen_q, r.c.seqlen_k, r.c.heads_q / r.c.heads_kv);
  Aligned scratch(kernels.attention_scratch_bytes(config));
  for (int b = 0; b < r.c.batch; ++b) {
    const int rows = sequence_shape(r.args.query, r.args.kv, b).rows_q;
    const int step = std::max(1, r.c.name.size() % 2 ? config.block_q / group : 37);  // both aligned and odd tasks
    for (int head = 0; head < r.c.heads_q; head += group) {
      for (int row = 0; row < rows; row += step) {
        const AttentionTask task = {b, head,       head + group, row,    std::min(rows, row + step),
                                    0, kMaxSeqlen, nullptr,      nullptr};
        if (r.c.split) {
          run_split(r, kernels, config, task, scratch.p);
        } else {
          kernels.attention_forward(r.args, config, task, scratch.p);
        }
      }
    }
  }
}

/// NaN and inf where some row must not look: keys past a length, and the last keys under a causal mask.
void poison_hidden(Run& r) {
  for (int b = 0; b < r.c.batch; ++b) {
    const SequenceShape s = sequence_shape(r.args.query, r.args.kv, b);
    const Int64 first = (r.c.packed ? 0 : Int64{b} * r.c.seqlen_k) + s.k_first;
    const int exists = r.c.packed ? s.seqlen_k : r.c.seqlen_k;
    for (int key = 0; key < exists; ++key) {
      if (key < s.seqlen_k && key != s.seqlen_k - 2 && key != s.seqlen_k / 2) continue;
      const float bad = key % 2 ? kNaN : key % 4 ? INFINITY : -INFINITY;
      for (int h = 0; h < r.c.heads_kv; ++h) {
        r.k.data.set(r.k.at(first + key, h, 0), bad);
        r.v.data.set(r.v.at(first + key, h, r.c.head_dim_v - 1), bad);
      }
    }
  }
}

/// Compares every row with the definition under the house's tolerance rule.
void check(const Case& c, DType dtype, const Kernels& kernels, int kv_heads) {
  SCOPED_TRACE(fmt::format("{} {} {}, {} kv heads a task", kernels.isa, name_of(dtype), c.name, kv_heads));
  Run r(c, dtype);
  if (c.hidden_nan) poison_hidden(r);
  run_kernels(r, kernels, kv_heads);
  Comparison comparison;
  for (int b = 0; b < c.batch; ++b) {
    const SequenceShape s = sequence_shape(r.args.query, r.args.kv, b);
    for (int head = 0; head < c.heads_q; ++head) {
      for (int row = 0; row < s.rows_q; ++row) {
        double want_lse, float_lse;
        const std::vector<double> want = plain_row<double>(r, b, head, row, &want_lse);
        const std::vector<double> plain = plain_row<float>(r, b, head, row, &float_lse);
        const Int64 at = (c.packed ? 0 : Int64{b} * c.seqlen_q) + s.q_first + row;
        for (int d = 0; d < c.head_dim_v; ++d) {
          const size_t i = static_cast<size_t>(d);
          comparison.add({b, head, row, d}, want[i], plain[i], r.o.get(at, head, d));
        }
        if (!c.wants_lse) continue;
        const double got_lse = r.lse_at(b, head, s.q_first + row);
        if (!std::isfinite(want_lse)) {
          const bool same = std::isnan(want_lse) ? std::isnan(got_lse) : got_lse == want_lse;
          ASSERT_TRUE(same) << "lse[" << b << "," << head << "," << row << "] = " << got_lse << ", expected "
                            << want_lse;
        } else {
          ASSERT_NEAR(got_lse, want_lse, 1e-6 * (1 + std::fabs(want_lse)));
        }
      }
    }
  }
  if (comparison.count() == 0) return;
  const Tolerance t = tolerance_of(comparison, dtype);
  const Place w = comparison.worst();
  EXPECT_TRUE(passes(comparison, t)) << "o[" << w.batch << "," << w.row << "," << w.head << "," << w.column
                                     << "] = " << comparison.worst_ours() << ", expected "
                                     << comparison.worst_expected() << "; max error " << comparison.max_error()
                                     << " of " << t.max_limit << ", rms error " << comparison.rms_error() << " of "
                                     << t.rms_limit << ", " << comparison.non_finite_mismatches()
                                     << " non-finite mismatches";
}

const MaskRule kCausal = {MaskKind::kCausal};
const MaskRule kTopLeft = {MaskKind::kCausal, MaskAlignment::kTopLeft};

std::vector<Case> cases() {
  std::vector<Case> all = {
      {.name = "plain 64"},
      {.name = "plain 128", .seqlen_q = 200, .seqlen_k = 300, .head_dim_qk = 128, .head_dim_v = 128},
      {.name = "one row one key", .seqlen_q = 1, .seqlen_k = 1},
      {.name = "no keys", .seqlen_q = 3, .seqlen_k = 0},
      {.name = "causal", .seqlen_q = 301, .seqlen_k = 301, .mask = kCausal},
      {.name = "causal, grouped heads", .seqlen_q = 130, .seqlen_k = 130, .heads_q = 8, .heads_kv = 2, .mask = kCausal},
      {.name = "causal, three heads a group",
       .seqlen_q = 97,
       .seqlen_k = 140,
       .heads_q = 6,
       .heads_kv = 2,
       .mask = kCausal},
      {.name = "causal, more rows than keys", .seqlen_q = 90, .seqlen_k = 33, .mask = kCausal},
      {.name = "causal top-left, more keys", .seqlen_q = 40, .seqlen_k = 190, .mask = kTopLeft},
      {.name = "without lse", .seqlen_q = 160, .seqlen_k = 200, .mask = kCausal, .wants_lse = false},
      {.name = "causal, no keys", .seqlen_q = 5, .seqlen_k = 0, .mask = kCausal},
      {.name = "window",
       .seqlen_q = 300,
       .seqlen_k = 300,
       .mask = {MaskKind::kWindow, MaskAlignment::kBottomRight, 17, 9}},
      {.name = "window of one",
       .seqlen_q = 70,
       .seqlen_k = 150,
       .mask = {MaskKind::kWindow, MaskAlignment::kTopLeft, 0, 0}},
      {.name = "window past the keys",
       .seqlen_q = 150,
       .seqlen_k = 50,
       .mask = {MaskKind::kWindow, MaskAlignment::kTopLeft, 10, 10}},
      {.name = "softcap", .seqlen_q = 100, .seqlen_k = 100, .mask = kCausal, .softcap = 5.0f, .magnitude = 2.0f},
      {.name = "negative scale", .seqlen_q = 70, .seqlen_k = 170, .mask = kCausal, .scale = -0.3f},
      {.name = "large scores", .seqlen_q = 70, .seqlen_k = 170, .mask = kCausal, .magnitude = 6.0f},
      {.name = "lengths", .batch = 3, .seqlen_q = 75, .seqlen_k = 160, .mask = kCausal, .lengths = true, .pad = 3},
      {.name = "lengths, full", .batch = 3, .seqlen_q = 75, .seqlen_k = 160, .lengths = true, .hidden_nan = true},
      {.name = "packed", .batch = 3, .seqlen_q = 80, .seqlen_k = 120, .mask = kCausal, .packed = true},
      {.name = "strided", .batch = 2, .seqlen_q = 50, .seqlen_k = 120, .heads_q = 4, .heads_kv = 4, .pad = 5},
      {.name = "split", .seqlen_q = 120, .seqlen_k = 400, .mask = kCausal, .split = true},
      {.name = "split decode", .seqlen_q = 1, .seqlen_k = 700, .heads_q = 4, .split = true},
      {.name = "split with lengths", .batch = 3, .seqlen_q = 20, .seqlen_k = 200, .lengths = true, .split = true},
      {.name = "hidden NaN, causal", .seqlen_q = 200, .seqlen_k = 200, .mask = kCausal, .hidden_nan = true},
      {.name = "hidden NaN, window",
       .seqlen_q = 200,
       .seqlen_k = 200,
       .mask = {MaskKind::kWindow, MaskAlignment::kBottomRight, 30, 4},
       .hidden_nan = true},
      {.name = "NaN in reach", .seqlen_q = 40, .seqlen_k = 40, .hidden_nan = true},
  };
  for (int group : {1, 4, 8, 16}) {
    all.push_back({.name = "decode " + std::to_string(group),
                   .seqlen_q = 1,
                   .seqlen_k = 333,
                   .heads_q = 2 * group,
                   .heads_kv = 2,
                   .head_dim_qk = 128,
                   .head_dim_v = 128});
    all.push_back({.name = "decode, window, " + std::to_string(group),
                   .batch = 2,
                   .seqlen_q = 2,
                   .seqlen_k = 333,
                   .heads_q = group,
                   .heads_kv = 1,
                   .head_dim_qk = 80,
                   .head_dim_v = 72,
                   .mask = {MaskKind::kWindow, MaskAlignment::kBottomRight, 100, 0},
                   .lengths = true,
                   .pad = 1,
                   .hidden_nan = true});
  }
  for (const Case& c : std::initializer_list<Case>{
           {.name = "decode, many keys", .seqlen_k = 700},
           {.name = "decode, causal, two rows", .seqlen_q = 2, .seqlen_k = 300, .mask = kCausal, .wants_lse = false},
           {.name = "decode, hidden NaN", .seqlen_q = 3, .mask = kCausal, .hidden_nan = true},
           {.name = "decode, lengths", .batch = 3, .seqlen_q = 2, .mask = kCausal, .lengths = true, .pad = 3},
           {.name = "decode, packed", .batch = 3, .seqlen_q = 2, .packed = true},
           {.name = "decode, softcap, split", .seqlen_k = 400, .softcap = 5.0f, .split = true},
           {.name = "decode, negative scale", .scale = -0.3f},
       }) {
    all.push_back(c);
    Case& decode = all.back();
    decode.name += ", three kv heads";
    if (c.seqlen_k == Case().seqlen_k) decode.seqlen_k = 215;
    if (c.seqlen_q == Case().seqlen_q) decode.seqlen_q = 1;
    decode.heads_q = 6;
    decode.heads_kv = 3;
    decode.head_dim_qk = 72;
    decode.head_dim_v = 104;
  }
  for (int dim : {1, 2, 3, 7, 8, 15, 17, 33, 40, 63, 72, 80, 96, 100, 192, 256, 257, 512, 600}) {
    all.push_back({.name = "head_dim " + std::to_string(dim),
                   .seqlen_q = 35,
                   .seqlen_k = 70,
                   .head_dim_qk = dim,
                   .head_dim_v = dim == 512 ? 64 : dim,
                   .mask = kCausal,
                   .pad = dim % 3});
    all.push_back({.name = "head_dim decode " + std::to_string(dim),
                   .seqlen_q = 1,
                   .seqlen_k = 70,
                   .heads_q = 4,
                   .head_dim_qk = dim == 600 ? 3 : dim,
                   .head_dim_v = dim,
                   .pad = dim % 3});
  }
  return all;
}

/// An infinite value is an infinite output in every row that sees it, keys that score -inf weigh nothing, and a row
/// that has only such keys is NaN.
void check_infinities(const Kernels& kernels) {
  const Case c = {.name = "infinities", .seqlen_q = 30, .seqlen_k = 30, .heads_q = 1, .mask = kCausal};
  Run r(c, DType::kF32);
  for (int row = 0; row < 30; ++row) r.q.data.set(r.q.at(row, 0, 0), 1.0f);
  for (int key = 0; key < 4; ++key) r.k.data.set(r.k.at(key, 0, 0), -INFINITY);
  r.v.data.set(r.v.at(10, 0, 5), INFINITY);
  run_kernels(r, kernels, 1);
  for (int row = 0; row < 30; ++row) {
    SCOPED_TRACE(std::string(kernels.isa) + " row " + std::to_string(row));
    EXPECT_EQ(std::isnan(r.o.get(row, 0, 0)), row < 4);
    EXPECT_EQ(std::isnan(r.lse[static_cast<size_t>(row)]), row < 4);
    EXPECT_EQ(std::isinf(r.o.get(row, 0, 5)), row >= 10);
  }
}

void check_all(const Kernels& kernels) {
  check_infinities(kernels);
  for (const Case& c : cases()) {
    for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      check(c, dtype, kernels, 1);
      const int most_rows = c.packed ? c.seqlen_q + c.seqlen_q / 2 : c.seqlen_q;
      const bool is_decode = most_rows * c.heads_q <= kernels.attention_decode_rows(dtype) * c.heads_kv;
      if (is_decode && c.heads_kv > 1) check(c, dtype, kernels, c.heads_kv);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(AttentionKernels, baseline_agrees_with_the_definition) { check_all(baseline_kernels()); }

#if defined(__x86_64__)
TEST(AttentionKernels, avx2_agrees_with_the_definition) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) GTEST_SKIP() << "needs AVX2 and FMA";
  check_all(avx2_kernels());
}

TEST(AttentionKernels, avx512_agrees_with_the_definition) {
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) GTEST_SKIP() << "needs AVX-512";
  check_all(avx512_kernels());
}

TEST(AttentionKernels, avx512bf16_agrees_with_the_definition) {
  if (!__builtin_cpu_supports("avx512bf16")) GTEST_SKIP() << "needs AVX512-BF16";
  check_all(avx512bf16_kernels());
}

TEST(AttentionKernels, amx_agrees_with_the_definition) {
  if (!detect_processor().has.amx_bf16) GTEST_SKIP() << "needs AMX with bf16 and the system's permission to use it";
  check_all(amx_kernels());
}
#endif

}  // namespace
}  // namespace fovea::cpu
