// SPDX-License-Identifier: Apache-2.0
#include "cli/matmul/options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "base/check.h"
#include "contract/dtype.h"
#include "contract/matmul_args.h"

namespace fovea::cli {
namespace {

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr const char* kShapeGroup = "Shape";
constexpr const char* kProductGroup = "Product";
constexpr const char* kHowGroup = "How";

Activation parse_activation(const std::string& name) {
  for (const Activation a : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
    if (name == name_of(a)) return a;
  }
  fail(kInvalid, "--activation", "--activation is '{}', must be none, relu, gelu or silu", name);
}

Math parse_math(const std::string& name) {
  check(name == "exact" || name == "fast", kInvalid, "--math", "--math is '{}', must be exact or fast", name);
  return name == "fast" ? Math::kFast : Math::kExact;
}

std::optional<bool> parse_persistent(const std::string& name) {
  check(name == "auto" || name == "yes" || name == "no", kInvalid, "--persistent",
        "--persistent is '{}', must be yes, no or auto", name);
  return name == "auto" ? std::nullopt : std::optional<bool>(name == "yes");
}

TensorView matrix(DType dtype, const MatmulShape& s, std::int64_t rows, std::int64_t cols, bool is_transposed) {
  if (is_transposed) std::swap(rows, cols);
  TensorView t = s.batch == 1 ? TensorView::contiguous(nullptr, dtype, {rows, cols})
                              : TensorView::contiguous(nullptr, dtype, {s.batch, rows, cols});
  if (is_transposed) {
    std::swap(t.shape[t.ndim - 1], t.shape[t.ndim - 2]);
    std::swap(t.strides[t.ndim - 1], t.strides[t.ndim - 2]);
  }
  return t;
}

void add_scales(MatmulTensors& tensors, const MatmulCommandOptions& o, const MatmulShape& s) {
  check(o.scale == "none" || o.scale == "tensor" || o.scale == "block", kInvalid, "--scale",
        "--scale is '{}', must be none, tensor or block", o.scale);
  if (o.scale == "none") return;
  if (o.scale == "tensor") {
    tensors.a_scale = tensors.b_scale = TensorView::contiguous(nullptr, DType::kF32, {1});
    return;
  }
  const int k = ceil_div(s.k, kScaleBlock), n = ceil_div(s.n, kScaleBlock);
  tensors.a_scale = matrix(DType::kF32, s, s.m, k, false);
  tensors.b_scale = matrix(DType::kF32, s, k, n, o.transpose_b);
}

int only(const std::vector<int>& values) { return values.size() == 1 ? values.front() : 0; }

}  // namespace

void add_matmul_options(CLI::App& command, MatmulCommandOptions& o) {
  const auto add = [&](const char* name, auto& value, const char* help, const char* type, const char* group) {
    return command.add_option(name, value, help)->group(group)->type_name(type);
  };
  add("--shapes,--shape", o.shapes, "m x n x k, or batch x m x n x k; several with commas", "MxNxK", kShapeGroup)
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("--dtype", o.dtype, "Of a and b: fp32, fp16, bf16 or e4m3", "NAME", kShapeGroup)->capture_default_str();
  add("--out-dtype", o.out_dtype, "Of d; default: that of a and b, bf16 for e4m3", "NAME", kShapeGroup);
  add("--seed", o.seed, "Of the random numbers", "N", kShapeGroup)->capture_default_str();
  command.add_flag("--transpose-a", o.transpose_a, "a lies in memory as (k, m)")->group(kProductGroup);
  command.add_flag("--transpose-b", o.transpose_b, "b lies in memory as (n, k), as weights often do")
      ->group(kProductGroup);
  command.add_flag("--bias", o.bias, "Adds a number per column")->group(kProductGroup);
  add("--activation", o.activation, "none, relu, gelu or silu", "NAME", kProductGroup)->capture_default_str();
  add("--scale", o.scale, "Of e4m3: none, tensor (one number each) or block (per 128)", "NAME", kProductGroup)
      ->capture_default_str();
  add("--alpha", o.alpha, "Factor of the product", "X", kProductGroup)->capture_default_str();
  add("--beta", o.beta, "Factor of what d holds", "X", kProductGroup)->capture_default_str();
  add("--math", o.math, "exact, or fast: fp32 as TF32 on GPUs", "NAME", kProductGroup)->capture_default_str();
  for (auto& [name, values] :
       {std::pair{"--block-m", &o.block_m}, {"--block-n", &o.block_n}, {"--block-k", &o.block_k}}) {
    add(name, *values, "Of a tile; all three or none", "N", kHowGroup)
        ->delimiter(',')
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  add("--persistent", o.persistent, "yes, no or auto: blocks of threads that compute tile after tile", "WORD",
      kHowGroup)
      ->capture_default_str();
  add_machine_options(command, o.machine);
  add("--kernel", o.machine.kernel, "This kernel or none, by the name that explain prints", "NAME", kHowGroup);
}

MatmulShape parse_matmul_shape(const std::string& text) {
  std::vector<int> sizes;
  const char* at = text.data();
  const char* const end = at + text.size();
  bool is_good = true;
  while (is_good) {
    int value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    is_good = error == std::errc() && value >= 0;
    sizes.push_back(value);
    at = next;
    if (at == end) break;
    is_good = is_good && *at++ == 'x';
  }
  check(is_good && (sizes.size() == 3 || sizes.size() == 4), kInvalid, "--shapes",
        "--shapes has '{}', must be MxNxK or BATCHxMxNxK, as in 512x4096x4096", text);
  MatmulShape shape;
  const std::size_t first = sizes.size() - 3;
  if (first == 1) shape.batch = sizes[0];
  shape.m = sizes[first], shape.n = sizes[first + 1], shape.k = sizes[first + 2];
  return shape;
}

std::vector<MatmulShape> resolve_shapes(const MatmulCommandOptions& options,
                                        const std::vector<MatmulShape>& otherwise) {
  if (options.shapes.empty()) return otherwise;
  std::vector<MatmulShape> shapes;
  for (const std::string& text : options.shapes) shapes.push_back(parse_matmul_shape(text));
  return shapes;
}

MatmulCallShape resolve_matmul(const MatmulCommandOptions& o, const MatmulShape& s) {
  MatmulCallShape call;
  call.shape = s;
  call.dtype = parse_dtype(o.dtype);
  const DType usual = call.dtype == DType::kE4M3 ? DType::kBF16 : call.dtype;
  const DType out = o.out_dtype.empty() ? usual : parse_dtype(o.out_dtype);
  call.tensors.a = matrix(call.dtype, s, s.m, s.k, o.transpose_a);
  call.tensors.b = matrix(call.dtype, s, s.k, s.n, o.transpose_b);
  call.tensors.d = matrix(out, s, s.m, s.n, false);
  if (o.beta != 0.0f) call.tensors.c = call.tensors.d;
  if (o.bias) call.tensors.bias = TensorView::contiguous(nullptr, usual, {s.n});
  add_scales(call.tensors, o, s);
  call.options.alpha = o.alpha;
  call.options.beta = o.beta;
  call.options.activation = parse_activation(o.activation);
  call.options.math = parse_math(o.math);
  call.options.kernel = o.machine.kernel;
  call.options.tile.block_m = only(o.block_m);
  call.options.tile.block_n = only(o.block_n);
  call.options.tile.block_k = only(o.block_k);
  call.options.tile.persistent = parse_persistent(o.persistent);
  return call;
}

std::string to_string(const MatmulShape& s) {
  const std::string product = fmt::format("{}x{}x{}", s.m, s.n, s.k);
  return s.batch == 1 ? product : fmt::format("{}x{}", s.batch, product);
}

}  // namespace fovea::cli
