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
#include "fovea/matmul.h"
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
constexpr std::size_t kNumMatmulNumbers = 13, kNumMatmulOptional = 4;
using MatmulNumbers = std::array<std::int64_t, kNumMatmulNumbers>;

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

MatmulNumbers numbers_of(const MatmulOptions& o, unsigned given) {
  const MatmulTile& t = o.tile;
  return {kFormat,
          static_cast<int>(o.activation),
          static_cast<int>(o.math),
          t.block_m,
          t.block_n,
          t.block_k,
          t.stages,
          t.warps,
          t.cluster_m,
          t.cluster_n,
          t.num_splits,
          t.persistent ? *t.persistent : -1,
          given};
}

MatmulOptions matmul_options_of(std::span<const std::int64_t> n, std::span<const double> reals) {
  MatmulOptions o;
  const auto number = [&n](std::size_t i) { return static_cast<int>(n[i]); };
  o.activation = static_cast<Activation>(number(1));
  o.math = static_cast<Math>(number(2));
  o.tile = {.block_m = number(3),
            .block_n = number(4),
            .block_k = number(5),
            .stages = number(6),
            .warps = number(7),
            .cluster_m = number(8),
            .cluster_n = number(9),
            .num_splits = number(10)};
  if (n[11] >= 0) o.tile.persistent = n[11] != 0;
  o.alpha = static_cast<float>(reals[0]);
  o.beta = static_cast<float>(reals[1]);
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

TensorView view_of(const xla::Buffer& buffer, const Device& device) {
  TensorView view;
  switch (buffer.dtype) {
    case xla::kF32: view.dtype = DType::kF32; break;
    case xla::kF16: view.dtype = DType::kF16; break;
    case xla::kBF16: view.dtype = DType::kBF16; break;
    case xla::kS32: view.dtype = DType::kI32; break;
    case xla::kE4M3: view.dtype = DType::kE4M3; break;
    default: refuse("an array has a dtype that Fovea does not know (XLA's " + std::to_string(buffer.dtype) + ")");
  }
  if (buffer.rank > TensorView::kMaxDims) refuse("an array has " + std::to_string(buffer.rank) + " dimensions");
  view.device = device;
  view.data = buffer.data;
  view.ndim = static_cast<int>(buffer.rank);
  std::int64_t stride = 1;
  for (int d = view.ndim - 1; d >= 0; --d) {
    view.shape[d] = buffer.dims[d];
    view.strides[d] = stride;
    stride *= buffer.dims[d];
  }
  if (view.ndim == 0) view.ndim = 1, view.shape[0] = view.strides[0] = 1;  // one number
  return view;
}

/// Text of XLA's failure, which ends.
std::string taken_text(const xla::Api& api, xla::Failure* failed) {
  xla::FailureTextArgs text = {sizeof(xla::FailureTextArgs), nullptr, failed, nullptr, 0};
  api.text_of_failure(&text);
  const std::string found = text.message ? text.message : "";
  xla::FailureEndArgs end = {sizeof(xla::FailureEndArgs), nullptr, failed};
  api.end_failure(&end);
  return found;
}

/// Where a compiled program runs now.
struct Place {
  Device device;
  Stream stream;
};

Place place_of(const xla::CallFrame& frame, DeviceKind kind) {
  if (kind == DeviceKind::kCPU) return {};
  const xla::Api& api = *frame.api;
  if (api.struct_size < sizeof(xla::Api)) refuse("this version of jaxlib does not tell the device; update it");
  xla::StreamArgs stream = {sizeof(xla::StreamArgs), nullptr, frame.context, nullptr};
  if (xla::Failure* failed = api.stream(&stream)) refuse("XLA tells no stream: " + taken_text(api, failed));
  xla::DeviceArgs device = {sizeof(xla::DeviceArgs), nullptr, frame.context, 0};
  if (xla::Failure* failed = api.device(&device)) refuse("XLA tells no device: " + taken_text(api, failed));
  return {{DeviceKind::kCUDA, device.device}, Stream{stream.stream}};
}

/// Arguments and results of one call, in their order.
class Buffers {
 public:
  Buffers(const xla::CallFrame& frame, const Device& device) : frame_(frame), device_(device) {}
  TensorView argument() {
    if (next_ >= frame_.args.size) refuse("the compiled program passes too few arrays");
    return view_of(*frame_.args.values[next_++], device_);
  }
  TensorView result(std::int64_t index) const {
    if (index >= frame_.results.size) return {};
    return view_of(*frame_.results.values[index], device_);
  }

 private:
  const xla::CallFrame& frame_;
  const Device& device_;
  std::int64_t next_ = 0;
};

template <std::size_t count>
std::span<const std::int64_t> numbers_of_call(const xla::CallFrame& frame) {
  const auto n = numbers<std::int64_t>(frame.attributes, "numbers", count);
  if (n[0] != kFormat) refuse("the compiled program is of another version of Fovea; compile it anew");
  return n;
}

std::string kernel_of_call(const xla::CallFrame& frame) {
  const auto& kernel = *static_cast<const xla::Text*>(attribute(frame.attributes, "kernel", xla::kTextAttribute));
  return {kernel.data, kernel.size};
}

void compute_attention(const xla::CallFrame& frame, const Place& place) {
  const auto n = numbers_of_call<kNumNumbers>(frame);
  AttentionOptions options = options_of(n, numbers<double>(frame.attributes, "reals", kNumReals));
  options.kernel = kernel_of_call(frame);
  AttentionTensors t;
  Buffers buffers(frame, place.device);
  for (TensorView* view : {&t.q, &t.k, &t.v}) *view = buffers.argument();
  TensorView* const vectors[kNumVectors] = {&t.seq_lens_q, &t.seq_lens_k, &t.cu_seqlens_q, &t.cu_seqlens_k};
  for (std::size_t i = 0; i < kNumVectors; ++i) {
    if (n[kNumNumbers - 1] >> i & 1) *vectors[i] = buffers.argument();
  }
  t.o = buffers.result(0);
  t.lse = buffers.result(1);
  attention_forward(t, options, place.stream);
}

void compute_matmul(const xla::CallFrame& frame, const Place& place) {
  const auto n = numbers_of_call<kNumMatmulNumbers>(frame);
  MatmulOptions options = matmul_options_of(n, numbers<double>(frame.attributes, "reals", kNumReals));
  options.kernel = kernel_of_call(frame);
  MatmulTensors t;
  Buffers buffers(frame, place.device);
  for (TensorView* view : {&t.a, &t.b}) *view = buffers.argument();
  TensorView* const given[kNumMatmulOptional] = {&t.c, &t.bias, &t.a_scale, &t.b_scale};
  for (std::size_t i = 0; i < kNumMatmulOptional; ++i) {
    if (n[kNumMatmulNumbers - 1] >> i & 1) *given[i] = buffers.argument();
  }
  t.d = buffers.result(0);
  matmul(t, options, place.stream);
}

xla::Failure* failure(const xla::CallFrame& frame, std::int32_t code, const char* message) {
  xla::FailureArgs args = {sizeof(xla::FailureArgs), nullptr, message, code};
  return frame.api->create_failure(&args);
}

/// On a thread of XLA's, without Python's lock.
template <void (*compute)(const xla::CallFrame&, const Place&), DeviceKind kind>
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
    compute(*frame, place_of(*frame, kind));
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

/// A bit for each array that is given.
template <std::size_t count>
unsigned given_of(const nb::handle (&arrays)[count]) {
  unsigned given = 0;
  for (unsigned i = 0; i < count; ++i) given |= arrays[i].is_none() ? 0u : 1u << i;
  return given;
}

template <std::size_t count>
nb::tuple attributes_of(const std::array<std::int64_t, count>& integers, const Reals& floats,
                        const std::string& kernel) {
  nb::list numbers, reals;
  for (const std::int64_t number : integers) numbers.append(number);
  for (const double real : floats) reals.append(real);
  return nb::make_tuple(numbers, reals, nb::str(kernel.c_str()));
}

}  // namespace

nb::list jax_targets() {
  nb::list targets;
  const auto add = [&](const char* name, const char* platform, xla::Failure* (*function)(xla::CallFrame*)) {
    targets.append(nb::make_tuple(name, platform, nb::capsule(reinterpret_cast<const void*>(function))));
  };
  add("fovea_attention_forward", "cpu", &run<compute_attention, DeviceKind::kCPU>);
  add("fovea_attention_forward", "CUDA", &run<compute_attention, DeviceKind::kCUDA>);
  add("fovea_matmul", "cpu", &run<compute_matmul, DeviceKind::kCPU>);
  add("fovea_matmul", "CUDA", &run<compute_matmul, DeviceKind::kCUDA>);
  return targets;
}

nb::tuple jax_options(const CallArguments& call) {
  const AttentionOptions options = attention_options(call);
  const nb::handle vectors[kNumVectors] = {call.seq_lens_q, call.seq_lens_k, call.cu_seqlens_q, call.cu_seqlens_k};
  return attributes_of(numbers_of(options, given_of(vectors)),
                       Reals{options.softcap, options.softmax_scale.value_or(0.0f)}, options.kernel);
}

nb::tuple jax_matmul_options(const MatmulArguments& call) {
  const MatmulOptions options = matmul_options(call);
  const nb::handle optional[kNumMatmulOptional] = {call.c, call.bias, call.a_scale, call.b_scale};
  return attributes_of(numbers_of(options, given_of(optional)), Reals{options.alpha, options.beta}, options.kernel);
}

}  // namespace fovea::python
