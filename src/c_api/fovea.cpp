// SPDX-License-Identifier: Apache-2.0
// The C ABI over the C++ front door: translates structs, turns exceptions into a status and a thread-local detail.
#include "fovea/fovea.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <type_traits>

#include "fovea/attention.h"
#include "fovea/error.h"
#include "fovea/matmul.h"
#include "fovea/runtime.h"

struct fovea_runtime {
  fovea::Runtime runtime;
};

namespace fovea {
namespace {

static_assert(FOVEA_INVALID_ARGUMENT == static_cast<int>(ErrorCode::kInvalidArgument));
static_assert(FOVEA_UNSUPPORTED == static_cast<int>(ErrorCode::kUnsupported));
static_assert(FOVEA_COMPILE == static_cast<int>(ErrorCode::kCompile));
static_assert(FOVEA_CUDA_ERROR == static_cast<int>(ErrorCode::kCuda));
static_assert(FOVEA_INTERNAL == static_cast<int>(ErrorCode::kInternal));
static_assert(FOVEA_E4M3 == static_cast<int>(DType::kE4M3));
static_assert(FOVEA_I32 == static_cast<int>(DType::kI32) && FOVEA_BF16 == static_cast<int>(DType::kBF16));
static_assert(FOVEA_CUDA == static_cast<int>(DeviceKind::kCUDA));
static_assert(FOVEA_THD == static_cast<int>(Layout::kTHD) && FOVEA_BHSD == static_cast<int>(Layout::kBHSD));
static_assert(FOVEA_TOP_LEFT == static_cast<int>(MaskAlignment::kTopLeft));
static_assert(FOVEA_SILU == static_cast<int>(Activation::kSilu) && FOVEA_RELU == static_cast<int>(Activation::kRelu));
static_assert(FOVEA_MATH_FAST == static_cast<int>(Math::kFast));
static_assert(sizeof(fovea_tensor::shape) / sizeof(std::int64_t) == TensorView::kMaxDims);

/// The texts of this thread's last failure, and the record that points at them.
struct LastError {
  std::string field, message;
  fovea_error_detail detail{FOVEA_OK, "", ""};
};
thread_local LastError last_error;

fovea_status remember(fovea_status code, const char* field, const char* message) noexcept {
  LastError& e = last_error;
  try {
    e.field = field;
    e.message = message;
    e.detail = {code, e.field.c_str(), e.message.c_str()};
  } catch (...) {
    e.detail = {code, "", "out of memory while keeping the message"};
  }
  return code;
}

/// Runs body; whatever it throws becomes a status.
template <typename Body>
fovea_status guarded(Body&& body) noexcept {
  try {
    body();
    return FOVEA_OK;
  } catch (const Error& e) {
    return remember(static_cast<fovea_status>(e.code()), e.field().c_str(), e.what());
  } catch (const std::bad_alloc&) {
    return remember(FOVEA_INTERNAL, "", "out of memory");
  } catch (const std::exception& e) {
    return remember(FOVEA_INTERNAL, "", e.what());
  } catch (...) {
    return remember(FOVEA_INTERNAL, "", "an exception of unknown type");
  }
}

template <typename... Args>
[[noreturn]] void refuse(const char* field, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(ErrorCode::kInvalidArgument, field, fmt::format(text, std::forward<Args>(args)...));
}

template <typename T>
const T& not_null(const T* pointer, const char* field, const char* wanted) {
  if (!pointer) refuse(field, "{} is NULL, must point to {}", field, wanted);
  return *pointer;
}

void check_reserved(std::int32_t value) {
  if (value != 0) refuse("reserved", "reserved is {}, must be 0; call the struct's _init function first", value);
}

/// A copy of the caller's struct as this library knows it: fields that an older caller lacks are 0, which is their
/// default; fields that only a newer caller knows must be 0.
template <typename T>
T read_struct(const T* given, const char* field, const char* type) {
  static_assert(std::is_trivially_copyable_v<T>);
  constexpr std::size_t kLargest = 4096;  // a larger number was never initialised
  const std::size_t size = not_null(given, field, type).struct_size;
  if (size < sizeof(std::size_t) || size > kLargest) {
    refuse("struct_size", "{}->struct_size is {}, must be sizeof({}); call {}_init first", field, size, type, type);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] != 0) {
      refuse(
          "struct_size",
          "{} sets a field at byte {} that Fovea {} does not know (its struct has {} bytes); use a newer library, or "
          "leave that field 0",
          field, i, version(), sizeof(T));
    }
  }
  T copy{};
  std::memcpy(&copy, given, std::min(size, sizeof(T)));
  if (size < sizeof(T)) std::memset(reinterpret_cast<unsigned char*>(&copy) + size, 0, sizeof(T) - size);
  copy.struct_size = sizeof(T);
  return copy;
}

template <typename Enum>
Enum enumerator(std::int32_t value, Enum last, const char* field) {
  if (value < 0 || value > static_cast<std::int32_t>(last)) {
    refuse(field, "{} is {}, must be from 0 to {} (the enumeration in fovea.h)", field, value, static_cast<int>(last));
  }
  return static_cast<Enum>(value);
}

/// Into an absent view, in place: a call fills up to seven, and a copy of what was just written waits for the stores.
void take_view(TensorView& view, const fovea_tensor* tensor, const char* field) {
  if (!tensor) return;
  if (tensor->ndim < 1 || tensor->ndim > TensorView::kMaxDims) {
    refuse(field, "{} has ndim {}, must be 1 to {}", field, tensor->ndim, TensorView::kMaxDims);
  }
  view.data = tensor->data;
  view.dtype = enumerator(tensor->dtype, DType::kE4M3, field);
  view.device = {enumerator(tensor->device_kind, DeviceKind::kCUDA, field), tensor->device_index};
  view.ndim = tensor->ndim;
  for (int i = 0; i < tensor->ndim; ++i) {  // shorter than a call of memcpy
    view.shape[i] = tensor->shape[i];
    view.strides[i] = tensor->strides[i];
  }
}

AttentionTensors tensors_of(const fovea_attention_tensors* given) {
  const fovea_attention_tensors t = read_struct(given, "tensors", "fovea_attention_tensors");
  AttentionTensors tensors;
  take_view(tensors.q, &not_null(t.q, "q", "a fovea_tensor"), "q");
  take_view(tensors.k, &not_null(t.k, "k", "a fovea_tensor"), "k");
  take_view(tensors.v, &not_null(t.v, "v", "a fovea_tensor"), "v");
  take_view(tensors.o, &not_null(t.o, "o", "a fovea_tensor"), "o");
  take_view(tensors.lse, t.lse, "lse");
  take_view(tensors.seq_lens_q, t.seq_lens_q, "seq_lens_q");
  take_view(tensors.seq_lens_k, t.seq_lens_k, "seq_lens_k");
  take_view(tensors.cu_seqlens_q, t.cu_seqlens_q, "cu_seqlens_q");
  take_view(tensors.cu_seqlens_k, t.cu_seqlens_k, "cu_seqlens_k");
  take_view(tensors.page_table, t.page_table, "page_table");
  return tensors;
}

AttentionOptions options_of(const fovea_attention_options* given) {
  AttentionOptions options;
  if (!given) return options;
  const fovea_attention_options o = read_struct(given, "options", "fovea_attention_options");
  check_reserved(o.reserved);
  options.layout = enumerator(o.layout, Layout::kTHD, "layout");
  options.causal = o.causal != 0;
  options.alignment = enumerator(o.alignment, MaskAlignment::kTopLeft, "alignment");
  if (o.has_window_left) options.window_left = o.window_left;
  if (o.has_window_right) options.window_right = o.window_right;
  if (o.has_softmax_scale) options.softmax_scale = o.softmax_scale;
  options.softcap = o.softcap;
  options.math = enumerator(o.math, Math::kFast, "math");
  options.max_seqlen_q = o.max_seqlen_q;
  options.max_seqlen_k = o.max_seqlen_k;
  options.tile = {o.block_q, o.block_k, o.stages, o.warps};
  if (o.kernel) options.kernel = o.kernel;
  return options;
}

MatmulTensors tensors_of(const fovea_matmul_tensors* given) {
  const fovea_matmul_tensors t = read_struct(given, "tensors", "fovea_matmul_tensors");
  MatmulTensors tensors;
  take_view(tensors.a, t.a, "a");
  take_view(tensors.b, t.b, "b");
  take_view(tensors.d, t.d, "d");
  take_view(tensors.c, t.c, "c");
  take_view(tensors.bias, t.bias, "bias");
  take_view(tensors.a_scale, t.a_scale, "a_scale");
  take_view(tensors.b_scale, t.b_scale, "b_scale");
  return tensors;
}

MatmulOptions options_of(const fovea_matmul_options* given) {
  MatmulOptions options;
  if (!given) return options;
  const fovea_matmul_options o = read_struct(given, "options", "fovea_matmul_options");
  check_reserved(o.reserved);
  if (o.has_alpha) options.alpha = o.alpha;
  options.beta = o.beta;
  options.activation = enumerator(o.activation, Activation::kSilu, "activation");
  options.math = enumerator(o.math, Math::kFast, "math");
  options.tile.block_m = o.block_m;
  options.tile.block_n = o.block_n;
  options.tile.block_k = o.block_k;
  if (o.persistent < FOVEA_AUTO || o.persistent > FOVEA_NO) {
    refuse("persistent", "persistent is {}, must be FOVEA_AUTO, FOVEA_YES or FOVEA_NO", o.persistent);
  }
  if (o.persistent != FOVEA_AUTO) options.tile.persistent = o.persistent == FOVEA_YES;
  if (o.kernel) options.kernel = o.kernel;
  return options;
}

RuntimeOptions options_of(const fovea_runtime_options* given) {
  RuntimeOptions options;
  if (!given) return options;
  const fovea_runtime_options o = read_struct(given, "options", "fovea_runtime_options");
  check_reserved(o.reserved);
  options.num_threads = o.num_threads;
  if (o.cpu_isa) options.cpu_isa = o.cpu_isa;
  if (o.cache_dir) options.cache_dir = o.cache_dir;
  if (o.kernel_dir) options.kernel_dir = o.kernel_dir;
  return options;
}

Runtime& runtime_of(fovea_runtime* runtime) { return runtime ? runtime->runtime : default_runtime(); }

/// A copy for the caller, from malloc: freed by fovea_string_free.
char* caller_owned(const std::string& text) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

template <typename T>
void init(T* options) {
  if (!options) return;
  *options = T{};
  options->struct_size = sizeof(T);
}

}  // namespace
}  // namespace fovea

using namespace fovea;

const char* fovea_version(void) { return version(); }
int32_t fovea_abi_version(void) { return FOVEA_ABI_VERSION; }
void fovea_string_free(char* string) { std::free(string); }
const fovea_error_detail* fovea_last_error(void) { return &last_error.detail; }

void fovea_runtime_options_init(fovea_runtime_options* options) { init(options); }
void fovea_attention_tensors_init(fovea_attention_tensors* tensors) { init(tensors); }
void fovea_attention_options_init(fovea_attention_options* options) { init(options); }
void fovea_matmul_tensors_init(fovea_matmul_tensors* tensors) { init(tensors); }
void fovea_matmul_options_init(fovea_matmul_options* options) { init(options); }

fovea_tensor fovea_tensor_contiguous(void* data, int32_t dtype, int32_t ndim, const int64_t* shape) {
  fovea_tensor tensor{};
  tensor.data = data;
  tensor.dtype = dtype;
  tensor.ndim = shape ? std::clamp<int32_t>(ndim, 0, TensorView::kMaxDims) : 0;
  int64_t stride = 1;
  for (int32_t d = tensor.ndim - 1; d >= 0; --d) {
    tensor.shape[d] = shape[d];
    tensor.strides[d] = stride;
    // Nonsense sizes are refused where the tensor is used; here they only must not overflow.
    if (shape[d] > 0 && __builtin_mul_overflow(stride, shape[d], &stride)) stride = INT64_MAX;
  }
  return tensor;
}

fovea_status fovea_runtime_create(const fovea_runtime_options* options, fovea_runtime** runtime) {
  return guarded([&] {
    not_null(runtime, "runtime", "a place for the new runtime");
    *runtime = new fovea_runtime{Runtime(options_of(options))};
  });
}

void fovea_runtime_destroy(fovea_runtime* runtime) { delete runtime; }

fovea_status fovea_runtime_info(fovea_runtime* runtime, int32_t json, char** text) {
  return guarded([&] {
    not_null(text, "text", "a place for the string");
    *text = caller_owned(runtime_of(runtime).info(json != 0));
  });
}

fovea_status fovea_attention_forward(fovea_runtime* runtime, const fovea_attention_tensors* tensors,
                                     const fovea_attention_options* options, void* stream) {
  return guarded([&] {
    const AttentionTensors views = tensors_of(tensors);
    attention_forward(runtime_of(runtime), views, options_of(options), Stream{stream});
  });
}

fovea_status fovea_attention_explain(fovea_runtime* runtime, const fovea_attention_tensors* tensors,
                                     const fovea_attention_options* options, int32_t json, const char* architecture,
                                     char** text) {
  return guarded([&] {
    not_null(text, "text", "a place for the string");
    const AttentionTensors views = tensors_of(tensors);
    *text = caller_owned(attention_explain(runtime_of(runtime), views, options_of(options), json != 0,
                                           architecture ? architecture : ""));
  });
}

fovea_status fovea_matmul(fovea_runtime* runtime, const fovea_matmul_tensors* tensors,
                          const fovea_matmul_options* options, void* stream) {
  return guarded([&] {
    const MatmulTensors views = tensors_of(tensors);
    matmul(runtime_of(runtime), views, options_of(options), Stream{stream});
  });
}

fovea_status fovea_matmul_explain(fovea_runtime* runtime, const fovea_matmul_tensors* tensors,
                                  const fovea_matmul_options* options, int32_t json, const char* architecture,
                                  char** text) {
  return guarded([&] {
    not_null(text, "text", "a place for the string");
    const MatmulTensors views = tensors_of(tensors);
    *text = caller_owned(
        matmul_explain(runtime_of(runtime), views, options_of(options), json != 0, architecture ? architecture : ""));
  });
}
