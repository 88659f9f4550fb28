// SPDX-License-Identifier: Apache-2.0
// What is particular to the AMX unit: keys in several spans and rows in several chunks, stabilisers that move, values
// that leave the range of its products and go to AVX-512. The options of attention are in attention_kernels_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "base/math.h"
#include "contract/dtype.h"
#include "cpu/kernels/kernels.h"
#include "cpu/processor.h"
#include "verify/attention.h"

namespace fovea::cpu {
namespace {

struct Shape {
  int seqlen_q, seqlen_k, heads_q, heads_kv, head_dim_qk, head_dim_v;
  MaskKind mask = MaskKind::kNone;
  int block_q = 0;  // 0: the unit's own choice
};

/// Tensors (seqlen, heads, head_dim) of one sequence, and the unit's result in o and lse.
class Problem {
 public:
  Problem(const Shape& shape, DType dtype) : shape_(shape), dtype_(dtype) {
    q_ = random(shape.seqlen_q * shape.heads_q * shape.head_dim_qk, 1);
    k_ = random(shape.seqlen_k * shape.heads_kv * shape.head_dim_qk, 2);
    v_ = random(shape.seqlen_k * shape.heads_kv * shape.head_dim_v, 3);
    o_.assign(static_cast<std::size_t>(shape.seqlen_q * shape.heads_q * shape.head_dim_v) * 4, 0xcd);
    lse_.assign(static_cast<std::size_t>(shape.seqlen_q * shape.heads_q), -1.0f);
  }

  void set(std::vector<unsigned char>& tensor, int index, float x) const {
    unsigned char* at = tensor.data() + static_cast<std::size_t>(index) * static_cast<std::size_t>(size_bytes(dtype_));
    if (dtype_ == DType::kF32) {
      *reinterpret_cast<float*>(at) = x;
    } else {
      *reinterpret_cast<std::uint16_t*>(at) = dtype_ == DType::kF16 ? float_to_fp16(x) : float_to_bf16(x);
    }
  }
  void set_k(int key, int head, int d, float x) { set(k_, (key * shape_.heads_kv + head) * shape_.head_dim_qk + d, x); }
  void set_q(int row, int head, int d, float x) { set(q_, (row * shape_.heads_q + head) * shape_.head_dim_qk + d, x); }
  void set_v(int key, int head, int d, float x) { set(v_, (key * shape_.heads_kv + head) * shape_.head_dim_v + d, x); }

  AttentionArgs args(bool wants_lse) {
    const Shape& s = shape_;
    AttentionArgs args;
    args.query = {q_.data(), 0, Int64{s.heads_q} * s.head_dim_qk, s.head_dim_qk, s.seqlen_q};
    args.kv.k = k_.data();
    args.kv.v = v_.data();
    args.kv.k_stride_row = Int64{s.heads_kv} * s.head_dim_qk;
    args.kv.k_stride_head = s.head_dim_qk;
    args.kv.v_stride_row = Int64{s.heads_kv} * s.head_dim_v;
    args.kv.v_stride_head = s.head_dim_v;
    args.kv.seqlen = s.seqlen_k;
    args.output = {o_.data(), 0, Int64{s.heads_q} * s.head_dim_v, s.head_dim_v, wants_lse ? lse_.data() : nullptr, 0,
                   s.seqlen_q};
    args.mask.kind = s.mask;
    args.batch = 1;
    args.num_heads_q = s.heads_q;
    args.num_heads_kv = s.heads_kv;
    args.head_dim_qk = s.head_dim_qk;
    args.head_dim_v = s.head_dim_v;
    args.softmax_scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim_qk));
    return args;
  }

  /// Runs the unit and judges it by the house's rule on about max_rows rows (the reference is slow).
  void check(bool wants_lse = true, int max_rows = 60) {
    SCOPED_TRACE(name_of(dtype_));
    const Kernels& kernels = amx_kernels();
    AttentionArgs a = args(wants_lse);
    AttentionConfig config;
    config.dtype = dtype_;
    config.head_dim_qk = shape_.head_dim_qk;
    config.head_dim_v = shape_.head_dim_v;
    const int group = shape_.heads_q / shape_.heads_kv;
    kernels.attention_tile(&config, shape_.seqlen_q, shape_.seqlen_k, group);
    if (shape_.block_q > 0) config.block_q = shape_.block_q;
    void* scratch =
        std::aligned_alloc(64, static_cast<std::size_t>(kernels.attention_scratch_bytes(config) + 63) / 64 * 64);
    for (int head = 0; head < shape_.heads_q; head += group) {
      kernels.attention_forward(
          a, config, {0, head, head + group, 0, shape_.seqlen_q, 0, shape_.seqlen_k, nullptr, nullptr}, scratch);
    }
    std::free(scratch);
    const AttentionReport report = verify_attention(a, dtype_, {max_rows});
    EXPECT_TRUE(report.passed) << to_string(report);
  }

 private:
  std::vector<unsigned char> random(int count, unsigned seed) const {
    std::vector<unsigned char> tensor(static_cast<std::size_t>(count) * static_cast<std::size_t>(size_bytes(dtype_)));
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < count; ++i) set(tensor, i, normal(generator));
    return tensor;
  }

  Shape shape_;
  DType dtype_;
  std::vector<unsigned char> q_, k_, v_, o_;
  std::vector<float> lse_;
};

constexpr DType kDTypes[] = {DType::kBF16, DType::kF16, DType::kF32};

class Amx : public testing::Test {
 protected:
  void SetUp() override {
    if (!detect_processor().has.amx_bf16) GTEST_SKIP() << "needs AMX with bf16 and the system's permission to use it";
  }
};

TEST_F(Amx, keys_in_several_spans_and_rows_in_several_chunks) {
  for (DType dtype : kDTypes) {
    Problem({300, 2500, 2, 2, 128, 96, MaskKind::kCausal, 64}, dtype).check();
    Problem({200, 1900, 6, 2, 72, 136, MaskKind::kNone, 96}, dtype).check();
  }
}

TEST_F(Amx, result_without_lse_keeps_the_tolerance) {
  for (DType dtype : kDTypes) Problem({130, 700, 2, 1, 64, 64, MaskKind::kCausal}, dtype).check(false);
}

TEST_F(Amx, stabiliser_follows_scores_that_rise_step_by_step) {
  for (DType dtype : kDTypes) {
    Problem problem({64, 1000, 1, 1, 64, 64}, dtype);
    for (int key = 0; key < 1000; ++key) problem.set_k(key, 0, 0, static_cast<float>(key / 100));
    for (int row = 0; row < 64; ++row) problem.set_q(row, 0, 0, 40.0f);
    problem.check();
  }
}

TEST_F(Amx, scores_that_fall_need_no_new_stabiliser) {
  for (DType dtype : kDTypes) {
    Problem problem({64, 1000, 1, 1, 64, 64}, dtype);
    for (int key = 0; key < 1000; ++key) problem.set_k(key, 0, 0, static_cast<float>(-key / 100));
    for (int row = 0; row < 64; ++row) problem.set_q(row, 0, 0, 40.0f);
    problem.check();
  }
}

TEST_F(Amx, huge_and_tiny_values_leave_the_tiles) {
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    Problem values({40, 300, 1, 1, 64, 64, MaskKind::kCausal}, dtype);
    values.set_v(290, 0, 3, 3e38f);
    values.set_v(280, 0, 4, -1e30f);
    values.check();
    Problem keys({40, 300, 1, 1, 64, 64}, dtype);
    for (int row = 0; row < 40; ++row) keys.set_q(row, 0, 7, 1e30f);
    for (int key = 0; key < 300; ++key) keys.set_k(key, 0, 7, static_cast<float>(key % 5) * 1e-30f);
    keys.check();
  }
}

TEST_F(Amx, infinity_in_a_late_span_redoes_the_whole_task) {
  for (DType dtype : kDTypes) {
    Problem problem({64, 2600, 1, 1, 128, 128, MaskKind::kCausal}, dtype);
    problem.set_v(2590, 0, 5, std::numeric_limits<float>::infinity());
    problem.set_k(2595, 0, 5, std::numeric_limits<float>::quiet_NaN());
    problem.check(true, 64);
  }
}

}  // namespace
}  // namespace fovea::cpu
