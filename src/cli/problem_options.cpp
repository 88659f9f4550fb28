// SPDX-License-Identifier: Apache-2.0
#include "cli/problem_options.h"

#include <CLI/CLI.hpp>

#include <charconv>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace fovea::cli {
namespace {

constexpr auto kInvalid = ErrorCode::kInvalidArgument;
constexpr const char* kShapeGroup = "Shape";
constexpr const char* kCallGroup = "Attention";
constexpr const char* kHowGroup = "How";

std::optional<int> parse_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// "32/8" -> {32, 8}; "32" -> {32, 32}.
std::pair<int, int> parse_pair(const char* option, const std::string& text) {
  const auto slash = text.find('/');
  const auto first = parse_number(std::string_view(text).substr(0, slash));
  const auto second = slash == std::string::npos ? first : parse_number(std::string_view(text).substr(slash + 1));
  check(first && second, kInvalid, option, "{} is '{}', must be a number or two of them as in 32/8", option, text);
  return {*first, *second};
}

/// A number, or nothing for "open".
std::optional<int> parse_window_side(std::string_view side, const std::string& whole) {
  if (side == "open") return std::nullopt;
  const auto value = parse_number(side);
  check(value.has_value(), kInvalid, "--window",
        "--window is '{}', must be LEFT,RIGHT with each a number of keys or open, as in 1024,0", whole);
  return value;
}

Layout parse_layout(const std::string& name) {
  if (name == "bshd") return Layout::kBSHD;
  if (name == "bhsd") return Layout::kBHSD;
  if (name == "thd") return Layout::kTHD;
  fail(kInvalid, "--layout", "--layout is '{}', must be bshd, bhsd or thd", name);
}

TensorView tensor(const CallShape& shape, Layout layout, std::int64_t seqlen, std::int64_t heads, std::int64_t dim) {
  switch (layout) {
    case Layout::kBHSD: return TensorView::contiguous(nullptr, shape.dtype, {shape.batch, heads, seqlen, dim});
    case Layout::kTHD: return TensorView::contiguous(nullptr, shape.dtype, {shape.batch * seqlen, heads, dim});
    case Layout::kBSHD: break;
  }
  return TensorView::contiguous(nullptr, shape.dtype, {shape.batch, seqlen, heads, dim});
}

}  // namespace

void add_machine_options(CLI::App& command, CallOptions& options) {
  command.add_option("--threads", options.threads, "Threads; default: the processors this process may use")
      ->group(kHowGroup)
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  command.add_option("--isa", options.isa, "baseline, avx2, avx512, avx512bf16 or amx; default: the best there is")
      ->group(kHowGroup)
      ->type_name("NAME");
}

void add_call_options(CLI::App& command, CallOptions& options) {
  command.add_flag("--causal", options.causal, "A query sees the keys up to its own position")->group(kCallGroup);
  command
      .add_option("--window", options.window,
                  "LEFT,RIGHT: keys seen on each side; open for no limit; LEFT alone with --causal")
      ->group(kCallGroup)
      ->type_name("L,R");
  command.add_flag("--top-left", options.top_left, "Query i stands at key i (default: last query at last key)")
      ->group(kCallGroup);
  command.add_option("--softcap", options.softcap, "s -> C tanh(s / C) before the mask; 0 is off")
      ->group(kCallGroup)
      ->type_name("C");
  command.add_option("--scale", options.scale, "softmax_scale; default 1/sqrt(head_dim)")
      ->group(kCallGroup)
      ->type_name("X");
  command.add_option("--layout", options.layout, "bshd, bhsd or thd (packed)")
      ->group(kCallGroup)
      ->type_name("NAME")
      ->capture_default_str();
  add_machine_options(command, options);
  command.add_option("--kernel", options.kernel, "This kernel or none, by the name that explain prints")
      ->group(kHowGroup)
      ->type_name("NAME");
  command.add_option("--block-q", options.block_q, "Query rows of a tile")
      ->group(kHowGroup)
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  command.add_option("--block-k", options.block_k, "Keys of a tile")
      ->group(kHowGroup)
      ->type_name("N")
      ->check(CLI::PositiveNumber);
}

void add_shape_options(CLI::App& command, ShapeOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* help, const char* type) {
    return command.add_option(name, value, help)->group(kShapeGroup)->type_name(type);
  };
  const auto add_count = [&](const char* name, auto& value, const char* help) {
    return add(name, value, help, "N")->check(CLI::NonNegativeNumber);
  };
  add_count("--batch", options.batch, "Sequences")->capture_default_str();
  add_count("--seqlen", options.seqlen, "Queries and keys of a sequence");
  add_count("--seqlen-q", options.seqlen_q, "Queries, if not --seqlen");
  add_count("--seqlen-k", options.seqlen_k, "Keys, if not --seqlen");
  add("--heads", options.heads, "Query heads, or query heads/kv heads as in 32/8", "N[/N]")->capture_default_str();
  add_count("--heads-q", options.heads_q, "Query heads, if not --heads");
  add_count("--heads-kv", options.heads_kv, "Key and value heads, if not --heads");
  add("--head-dim", options.head_dim, "Of q, k and v, or q and k/v as in 192/128", "N[/N]")->capture_default_str();
  add("--dtype", options.dtype, "fp32, fp16 or bf16", "NAME")->capture_default_str();
  add("--seed", options.seed, "Of the random numbers", "N")->capture_default_str();
  command.add_flag("--lse", options.lse, "Also the logarithm of each row's sum of exponentials")->group(kShapeGroup);
}

AttentionOptions resolve_call(const CallOptions& options) {
  AttentionOptions call;
  call.layout = parse_layout(options.layout);
  call.causal = options.causal;
  if (options.top_left) call.alignment = MaskAlignment::kTopLeft;
  if (!options.window.empty()) {
    const std::string_view text = options.window;
    const auto comma = text.find(',');
    check(comma != std::string_view::npos || options.causal, kInvalid, "--window",
          "--window is '{}', must be LEFT,RIGHT with each a number of keys or open, as in 1024,0; LEFT alone is for "
          "--causal",
          options.window);
    call.window_left = parse_window_side(text.substr(0, comma), options.window);
    if (comma != std::string_view::npos) {
      call.window_right = parse_window_side(text.substr(comma + 1), options.window);
    }
  }
  call.softmax_scale = options.scale;
  call.softcap = options.softcap;
  call.tile.block_q = options.block_q;
  call.tile.block_k = options.block_k;
  call.kernel = options.kernel;
  return call;
}

CallShape resolve_shape(const ShapeOptions& options, int default_seqlen) {
  CallShape shape;
  shape.dtype = parse_dtype(options.dtype);
  shape.batch = options.batch;
  shape.seqlen_q = options.seqlen_q.value_or(options.seqlen.value_or(default_seqlen));
  shape.seqlen_k = options.seqlen_k.value_or(options.seqlen.value_or(default_seqlen));
  std::tie(shape.num_heads_q, shape.num_heads_kv) = parse_pair("--heads", options.heads);
  if (options.heads_q) shape.num_heads_q = shape.num_heads_kv = *options.heads_q;
  if (options.heads_kv) shape.num_heads_kv = *options.heads_kv;
  std::tie(shape.head_dim_qk, shape.head_dim_v) = parse_pair("--head-dim", options.head_dim);
  shape.wants_lse = options.lse;
  return shape;
}

RuntimeOptions runtime_options(const CallOptions& options) {
  RuntimeOptions runtime;
  runtime.num_threads = options.threads;
  runtime.cpu_isa = options.isa;
  return runtime;
}

DType parse_dtype(const std::string& name) {
  if (name == "fp32" || name == "float32") return DType::kF32;
  if (name == "fp16" || name == "float16") return DType::kF16;
  if (name == "bf16" || name == "bfloat16") return DType::kBF16;
  if (name == "e4m3" || name == "float8_e4m3fn") return DType::kE4M3;
  fail(kInvalid, "--dtype", "--dtype is '{}', must be fp32, fp16, bf16 or, of matrix products, e4m3", name);
}

void fill_in_lengths(const CallShape& shape, AttentionOptions& options) {
  if (options.layout != Layout::kTHD) return;
  options.max_seqlen_q = shape.seqlen_q;
  options.max_seqlen_k = shape.seqlen_k;
}

AttentionTensors tensors_without_data(const CallShape& shape, Layout layout) {
  AttentionTensors t;
  t.q = tensor(shape, layout, shape.seqlen_q, shape.num_heads_q, shape.head_dim_qk);
  t.k = tensor(shape, layout, shape.seqlen_k, shape.num_heads_kv, shape.head_dim_qk);
  t.v = tensor(shape, layout, shape.seqlen_k, shape.num_heads_kv, shape.head_dim_v);
  t.o = tensor(shape, layout, shape.seqlen_q, shape.num_heads_q, shape.head_dim_v);
  if (layout == Layout::kTHD) {
    t.cu_seqlens_q = t.cu_seqlens_k = TensorView::contiguous(nullptr, DType::kI32, {shape.batch + 1});
  }
  if (shape.wants_lse) {
    t.lse = layout == Layout::kTHD
                ? TensorView::contiguous(nullptr, DType::kF32,
                                         {shape.num_heads_q, static_cast<std::int64_t>(shape.batch) * shape.seqlen_q})
                : TensorView::contiguous(nullptr, DType::kF32, {shape.batch, shape.num_heads_q, shape.seqlen_q});
  }
  return t;
}

bool describes_a_problem(const CLI::App& command, bool dtype_counts) {
  for (const char* name :
       {"--batch", "--seqlen", "--seqlen-q", "--seqlen-k", "--heads", "--heads-q", "--heads-kv", "--head-dim", "--lse",
        "--causal", "--window", "--top-left", "--softcap", "--scale", "--layout"}) {
    if (command.count(name) > 0) return true;
  }
  return dtype_counts && command.count("--dtype") > 0;
}

}  // namespace fovea::cli
