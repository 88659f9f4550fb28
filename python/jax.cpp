// SPDX-License-Identifier: Apache-2.0
#include "python/jax.h"

#include <array>
#include <cstring>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fovea/attention.h"
#include "fovea/error.h"
#include "python/options.h"
#include "python/xla_ffi.h"

namespace nb = nanobind;

namespace fovea::python {
namespace {

// Compiled programs may be kept on disk: a change of the lists below is a new format.
constexpr std::int64_t kFormat = 1;
constexpr std::size_t kNumNumbers = 15, kNumReals = 2, kNumVectors = 4;
using Numbers = std::array<std::int64_t, kNumNumbers>;
using Reals = std::array<double, kNumReals>;

std::int64_t kept(const std::optional<int>& value) { return value ? *value : -1; }

Numbers numbers_of(const AttentionOptions& o, unsigned given_vectors) {
  return {kFormat,
          static_cast<int>(o.layout),
          o.causal,
          kept(o.window_left),
          kept(o.window_right),
          static_cast<int>(o.alignment),
          o.max_seqlen_q,
          o.max_seqlen_k,
          static_cast<int>(o.math),
          o.tile.block_q,
          o.tile.block_k,
          o.tile.stages,
          o.tile.warps,
          o.softmax_scale.has_value(),
          given_vectors};
}

/// Windows are not negative once a call was checked.
AttentionOptions options_of(std::span<const std::int64_t> n, std::span<const double> reals) {
  AttentionOptions o;
  const auto number = [&n](std::size_t i) { return static_cast<int>(n[i]); };
  o.layout = static_cast<Layout>(number(1));
  o.causal = n[2] != 0;
  if (n[3] >= 0) o.window_left = number(3);
  if (n[4] >= 0) o.window_right = number(4);
  o.alignment = static_cast<MaskAlignment>(number(5));
  o.max_seqlen_q = number(6);
  o.max_seqlen_k = number(7);
  o.math = static_cast<Math>(number(8));
  o.tile = {.block_q = number(9), .block_k = number(10), .stages = number(11), .warps = number(12)};
  o.softcap = static_cast<float>(reals[0]);
  if (n[13] != 0) o.softmax_scale = static_cast<float>(reals[1]);
  return o;
}

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, "", message); }

const void* attribute(const xla::Attributes& attributes, const char* name, std::int32_t type) {
  for (std::int64_t i = 0; i < attributes.size; ++i) {
    const xla::Text& found = *attributes.names[i];
    if (std::string_view(found.data, found.size) == name && attributes.types[i] == type) return attributes.values[i];
  }
  refuse(std::string("the compiled program has no attribute ") + name + "; it is of another version of Fovea");
}

template <typename Number>
std::span<const Number> numbers(const xla::Attributes& attributes, const char* name, std::size_t size) {
  const auto& found = *static_cast<const xla::Numbers*>(attribute(attributes, name, xla::kNumbersAttribute));
  if (found.size != size) refuse(std::string("attribute ") + name + " is of another version of Fovea; compile anew");
  return {static_cast<const Number*>(found.data), size};
}

TensorView view_of(const xla::Buffer& buffer) {
  TensorView view;
  switch (buffer.dtype) {
    case xla::kF32: view.dtype = DType::kF32; break;
    case xla::kF16: view.dtype = DType::kF16; break;
    case xla::kBF16: view.dtype = DType::kBF16; break;
    case xla::kS32: view.dtype = DType::kI32; break;
    default: refuse("an array has a dtype that Fovea does not know (XLA's " + std::to_string(buffer.dtype) + ")");
  }
  if (buffer.rank > TensorView::kMaxDims) refuse("an array has " + std::to_string(buffer.rank) + " dimensions");
  view.ndim = static_cast<int>(buffer.rank);
  view.data = buffer.data;
  std::int64_t stride = 1;
  for (int d = view.ndim - 1; d >= 0; --d) {
    view.shape[d] = buffer.dims[d];
    view.strides[d] = stride;
    stride *= buffer.dims[d];
  }
  return view;
}

void compute(const xla::CallFrame& frame) {
  const auto n = numbers<std::int64_t>(frame.attributes, "numbers", kNumNumbers);
  const auto reals = numbers<double>(frame.attributes, "reals", kNumReals);
  if (n[0] != kFormat) refuse("the compiled program is of another version of Fovea; compile it anew");
  AttentionOptions options = options_of(n, reals);
  const auto& kernel = *static_cast<const xla::Text*>(attribute(frame.attributes, "kernel", xla::kTextAttribute));
  options.kernel.assign(kernel.data, kernel.size);

  AttentionTensors t;
  TensorView* const vectors[kNumVectors] = {&t.seq_lens_q, &t.seq_lens_k, &t.cu_seqlens_q, &t.cu_seqlens_k};
  std::int64_t next = 0;
  const auto take = [&](TensorView& view) {
    if (next >= frame.args.size) refuse("the compiled program passes too few arrays");
    view = view_of(*frame.args.values[next++]);
  };
  for (TensorView* view : {&t.q, &t.k, &t.v}) take(*view);
  for (std::size_t i = 0; i < kNumVectors; ++i) {
    if (n[14] >> i & 1) take(*vectors[i]);
  }
  if (frame.results.size < 1) refuse("the compiled program has no place for o");
  t.o = view_of(*frame.results.values[0]);
  if (frame.results.size > 1) t.lse = view_of(*frame.results.values[1]);
  attention_forward(t, options);
}

xla::Failure* failure(const xla::CallFrame& frame, std::int32_t code, const char* message) {
  xla::FailureArgs args = {sizeof(xla::FailureArgs), nullptr, message, code};
  return frame.api->create_failure(&args);
}

/// On a thread of XLA's, without Python's lock.
xla::Failure* run(xla::CallFrame* frame) noexcept {
  if (frame->extensions && frame->extensions->type == xla::kMetadataExtension) {
    xla::Metadata& metadata = *reinterpret_cast<xla::MetadataExtension*>(frame->extensions)->metadata;
    // What is read here is the same in every version 0.x so far, so it is the version of whoever asks.
    const int minor = frame->api && frame->api->version.major == 0 ? frame->api->version.minor : 1;
    metadata.version = {sizeof(xla::Version), nullptr, 0, minor};
    metadata.traits = 0;
    return nullptr;
  }
  if (frame->stage != xla::kExecute) return nullptr;
  try {
    compute(*frame);
    return nullptr;
  } catch (const Error& error) {
    const bool is_unsupported = error.code() == ErrorCode::kUnsupported;
    const bool is_invalid = error.code() == ErrorCode::kInvalidArgument;
    const std::int32_t code = is_unsupported ? xla::kUnimplemented
                              : is_invalid   ? xla::kInvalidArgument
                                             : xla::kInternal;
    return failure(*frame, code, error.what());
  } catch (const std::exception& error) {
    return failure(*frame, xla::kInternal, error.what());
  }
}

}  // namespace

nb::object jax_attention() { return nb::capsule(reinterpret_cast<const void*>(&run)); }

nb::tuple jax_options(const CallArguments& call) {
  const AttentionOptions options = attention_options(call);
  unsigned given = 0;
  const nb::handle vectors[kNumVectors] = {call.seq_lens_q, call.seq_lens_k, call.cu_seqlens_q, call.cu_seqlens_k};
  for (unsigned i = 0; i < kNumVectors; ++i) given |= vectors[i].is_none() ? 0u : 1u << i;
  nb::list numbers, reals;
  for (const std::int64_t number : numbers_of(options, given)) numbers.append(number);
  for (const double real : Reals{options.softcap, options.softmax_scale.value_or(0.0f)}) reals.append(real);
  return nb::make_tuple(numbers, reals, nb::str(options.kernel.c_str()));
}

}  // namespace fovea::python
