// SPDX-License-Identifier: Apache-2.0
// The card of the CPU kernels.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "matmul/kernels.h"
#include "runtime.h"

namespace fovea {
namespace {

float load(const void* data, DType dtype, Int64 at) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[at];
  return dtype == DType::kBF16 ? bf16_to_float(bits) : fp16_to_float(bits);
}

void store(void* data, DType dtype, Int64 at, float x) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[at] = x;
  } else {
    static_cast<std::uint16_t*>(data)[at] = dtype == DType::kBF16 ? float_to_bf16(x) : float_to_fp16(x);
  }
}

float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kRelu: return x > 0 || std::isnan(x) ? x : 0.0f;
    case Activation::kGelu: return 0.5f * x * std::erfc(-x * 0.70710678f);
    case Activation::kSilu: return x / (1.0f + std::exp(-x));
  }
  return x;
}

Support supports(const MatmulProblem&, const DeviceInfo& device) {
  if (device.device.kind != DeviceKind::kCPU) return Support::no("runs on a CPU; the tensors are on a GPU");
  return Support::yes();
}

std::vector<MatmulConfig> candidates(const MatmulProblem& p, const DeviceInfo&) {
  MatmulConfig c;
  c.dtype = p.dtype;
  c.d_dtype = p.d_dtype;
  c.c_dtype = p.c_dtype;
  c.bias_dtype = p.bias_dtype;
  c.math = p.math;
  c.a_order = p.a_order;
  c.b_order = p.b_order;
  c.c_order = p.c_order;
  c.d_order = p.d_order;
  c.has_c = p.has_c;
  c.bias = p.has_bias ? BiasKind::kPerColumn : BiasKind::kNone;
  c.activation = p.activation;
  c.block_m = c.block_n = c.block_k = 64;
  return {c};
}

MatmulPlan prepare(Runtime&, const MatmulProblem&, const DeviceInfo& device, const MatmulConfig& config) {
  MatmulPlan plan;
  plan.config = config;
  plan.detail = fmt::format("plain loops, {} threads", device.num_threads);
  return plan;
}

void run(Runtime& runtime, const MatmulPlan& plan, const MatmulProblem&, const MatmulArgs& args, Stream) {
  const MatmulConfig& c = plan.config;
  const std::int64_t rows = std::int64_t{args.batch} * args.m;
  runtime.impl().pool.run(rows, [&](std::int64_t index, cpu::Scratch& scratch) {
    const auto batch = static_cast<int>(index / args.m);
    const Int64 row = index % args.m;
    auto* sums = static_cast<float*>(scratch.reserve(sizeof(float) * static_cast<std::size_t>(args.n + 1)));
    std::fill_n(sums, args.n, 0.0f);
    const Int64 a = batch_offset(args, args.a.stride_batch, batch) + row * args.a.stride_row;
    const Int64 b = batch_offset(args, args.b.stride_batch, batch);
    for (int j = 0; j < args.k; ++j) {
      const float x = load(args.a.data, c.dtype, a + j * args.a.stride_col);
      for (int i = 0; i < args.n; ++i) {
        sums[i] += x * load(args.b.data, c.dtype, b + j * args.b.stride_row + i * args.b.stride_col);
      }
    }
    const Int64 d = batch_offset(args, args.d_stride_batch, batch) + row * args.d_stride_row;
    const Int64 add = batch_offset(args, args.c.stride_batch, batch) + row * args.c.stride_row;
    for (int i = 0; i < args.n; ++i) {
      float x = args.alpha * sums[i];
      if (c.has_c) x += args.beta * load(args.c.data, c.c_dtype, add + i * args.c.stride_col);
      if (args.bias) x += load(args.bias, c.bias_dtype, i * args.bias_stride);
      store(args.d, c.d_dtype, d + i * args.d_stride_col, activate(c.activation, x));
    }
  });
}

}  // namespace

const MatmulKernel matmul_cpu = {"matmul_cpu", supports, candidates, prepare, run};

}  // namespace fovea
