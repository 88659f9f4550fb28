// SPDX-License-Identifier: Apache-2.0
#include "python/attention.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "fovea/attention.h"
#include "fovea/runtime.h"
#include "fovea/verify.h"
#include "python/arrays.h"
#include "python/errors.h"
#include "python/options.h"
#include "python/torch_state.h"

namespace nb = nanobind;

namespace fovea::python {
namespace {

/// Shape of o: q's, with v's last dimension.
void output_shape(const TensorView& q, const TensorView& v, std::int64_t* shape) {
  for (int d = 0; d < q.ndim; ++d) shape[d] = q.shape[d];
  if (v.ndim >= 1) shape[q.ndim - 1] = v.shape[v.ndim - 1];
}

/// Shape of lse; returns its number of dimensions.
int lse_shape(const TensorView& q, Layout layout, std::int64_t* shape) {
  if (layout == Layout::kTHD) {
    shape[0] = q.shape[1];
    shape[1] = q.shape[0];
    return 2;
  }
  const bool heads_first = layout == Layout::kBHSD;
  shape[0] = q.shape[0];
  shape[1] = q.shape[heads_first ? 1 : 2];
  shape[2] = q.shape[heads_first ? 2 : 1];
  return 3;
}

/// q must have the layout's dimensions before the shape of an output can be told from it.
void check_rank(const TensorView& q, Layout layout) {
  const int want = layout == Layout::kTHD ? 3 : 4;
  if (q.ndim == want) return;
  static constexpr const char* kDims[] = {"bshd: (batch, seqlen, num_heads, head_dim)",
                                          "bhsd: (batch, num_heads, seqlen, head_dim)",
                                          "thd: (total, num_heads, head_dim)"};
  raise_value("q", "q has " + std::to_string(q.ndim) + " dimensions, must have " + std::to_string(want) +
                       " for layout " + kDims[static_cast<int>(layout)] + "; reshape it or name another layout");
}

void check_same_dtype(const TensorView& q, const TensorView& other, const char* name) {
  static constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "int32"};
  if (other.dtype == q.dtype) return;
  raise_type(name, std::string(name) + " has dtype " + kNames[static_cast<int>(other.dtype)] + " but q has " +
                       kNames[static_cast<int>(q.dtype)] + "; convert one of them");
}

/// Optional vectors of lengths and offsets: false if one is of another framework than q.
bool same_framework(const CallArguments& call, Framework framework) {
  for (const nb::handle vector : {call.seq_lens_q, call.seq_lens_k, call.cu_seqlens_q, call.cu_seqlens_k}) {
    if (!vector.is_none() && array_type(vector).framework != framework) return false;
  }
  return true;
}

void read_inputs(const CallArguments& call, ArrayReader& reader, AttentionTensors& tensors) {
  tensors.q = reader.read("q", call.q);
  tensors.k = reader.read("k", call.k);
  tensors.v = reader.read("v", call.v);
  check_same_dtype(tensors.q, tensors.k, "k");
  check_same_dtype(tensors.q, tensors.v, "v");
  if (tensors.q.dtype == DType::kI32) {
    raise_type("q", "q has dtype int32; attention takes float32, float16 and bfloat16; convert it");
  }
  if (!call.seq_lens_q.is_none()) tensors.seq_lens_q = reader.read("seq_lens_q", call.seq_lens_q);
  if (!call.seq_lens_k.is_none()) tensors.seq_lens_k = reader.read("seq_lens_k", call.seq_lens_k);
  if (!call.cu_seqlens_q.is_none()) tensors.cu_seqlens_q = reader.read("cu_seqlens_q", call.cu_seqlens_q);
  if (!call.cu_seqlens_k.is_none()) tensors.cu_seqlens_k = reader.read("cu_seqlens_k", call.cu_seqlens_k);
}

/// Whether an array like q serves as o: its shape, and rows of head_dim that lie apart, as they do not in an expanded
/// q, whose order of strides would put another dimension innermost.
bool serves_as_output(const TensorView& q, const TensorView& v) {
  const int last = q.ndim - 1;
  if (v.ndim != q.ndim || q.shape[last] != v.shape[last]) return false;
  for (int d = 0; d < last; ++d) {
    if (q.shape[d] > 1 && q.strides[d] < q.shape[last]) return false;
  }
  return q.shape[last] <= 1 || q.strides[last] == 1;
}

/// o and lse that a call without data would have, for explain and the reference.
TensorView shape_only(const TensorView& like, DType dtype, const std::int64_t* shape, int ndim) {
  TensorView view;
  view.dtype = dtype;
  view.device = like.device;
  view.ndim = ndim;
  std::int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    view.shape[d] = shape[d];
    view.strides[d] = stride;
    stride *= shape[d];
  }
  return view;
}

void describe_outputs(AttentionTensors& tensors, Layout layout, bool wants_lse) {
  std::int64_t shape[TensorView::kMaxDims];
  output_shape(tensors.q, tensors.v, shape);
  tensors.o = shape_only(tensors.q, tensors.q.dtype, shape, tensors.q.ndim);
  if (!wants_lse) return;
  const int ndim = lse_shape(tensors.q, layout, shape);
  tensors.lse = shape_only(tensors.q, DType::kF32, shape, ndim);
}

/// A C-contiguous float64 array of NumPy as plain memory.
double* float64_data(const char* name, nb::handle array, Py_buffer& buffer) {
  if (PyObject_GetBuffer(array.ptr(), &buffer, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
    throw nb::python_error();
  }
  if (buffer.itemsize != sizeof(double)) raise_type(name, std::string(name) + " must be float64");
  return static_cast<double*>(buffer.buf);
}

struct Float64Buffer {
  Py_buffer buffer = {};
  double* data = nullptr;
  Float64Buffer(const char* name, nb::handle array) {
    if (!array.is_none()) data = float64_data(name, array, buffer);
  }
  ~Float64Buffer() {
    if (data) PyBuffer_Release(&buffer);
  }
};

}  // namespace

nb::object attention(const CallArguments& call, nb::handle return_lse, nb::handle out, nb::handle lse_out,
                     nb::handle stream, bool asks_torch) {
  const ArrayType& type = array_type(call.q);
  const Framework framework = type.framework;
  const nb::object beyond = nb::borrow(Py_NotImplemented);
  if (framework == Framework::kOther || array_type(call.k).framework != framework ||
      array_type(call.v).framework != framework || !same_framework(call, framework)) {
    return beyond;
  }
  if (asks_torch && framework == Framework::kTorch && needs_torch({call.q, call.k, call.v})) return beyond;
  const AttentionOptions options = attention_options(call);
  ArrayReader reader;
  AttentionTensors tensors;
  read_inputs(call, reader, tensors);
  check_rank(tensors.q, options.layout);
  nb::object o = nb::borrow(out), lse = nb::borrow(lse_out);
  std::int64_t shape[TensorView::kMaxDims];
  if (out.is_none()) {
    if (framework == Framework::kView) raise_value("out", "out must be given with Views");
    if (serves_as_output(tensors.q, tensors.v)) {
      o = empty_like(framework, call.q, tensors.q);
    } else {
      output_shape(tensors.q, tensors.v, shape);
      o = empty_array(framework, call.q, tensors.q, tensors.q.dtype, shape, tensors.q.ndim);
    }
  }
  tensors.o = reader.read("out", o, /*writable=*/true);
  const bool wants_lse = boolean("return_lse", return_lse);
  if (wants_lse && lse_out.is_none()) {
    const int ndim = lse_shape(tensors.q, options.layout, shape);
    lse = framework == Framework::kNumPy || framework == Framework::kTorch
              ? empty_array(framework, call.q, tensors.q, DType::kF32, shape, ndim)
              : nb::object();
    if (!lse) raise_value("lse_out", "lse_out must be given with Views");
  }
  if (wants_lse) tensors.lse = reader.read("lse", lse, /*writable=*/true);
  void* queue = stream.is_none() ? current_stream(type, tensors.q.device)
                                 : reinterpret_cast<void*>(nb::cast<std::uintptr_t>(stream));
  try {
    nb::gil_scoped_release release;  // a kernel runs, is launched, or is compiled; buffers and references are held
    attention_forward(tensors, options, Stream{queue});
  } catch (const Error& error) {
    raise(error);
  }
  return wants_lse ? nb::object(nb::make_tuple(o, lse)) : o;
}

nb::object explain(const CallArguments& call, nb::handle return_lse, bool json, const std::string& architecture) {
  const AttentionOptions options = attention_options(call);
  ArrayReader reader;
  AttentionTensors tensors;
  read_inputs(call, reader, tensors);
  check_rank(tensors.q, options.layout);
  describe_outputs(tensors, options.layout, boolean("return_lse", return_lse));
  std::string text;
  try {
    nb::gil_scoped_release release;
    text = attention_explain(default_runtime(), tensors, options, json, architecture);
  } catch (const Error& error) {
    raise(error);
  }
  return nb::str(text.c_str(), text.size());
}

void reference(const CallArguments& call, nb::handle o, nb::handle lse) {
  const AttentionOptions options = attention_options(call);
  ArrayReader reader;
  AttentionTensors tensors;
  read_inputs(call, reader, tensors);
  check_rank(tensors.q, options.layout);
  describe_outputs(tensors, options.layout, /*wants_lse=*/true);
  const Float64Buffer o_exact("o", o), lse_exact("lse", lse);
  try {
    nb::gil_scoped_release release;
    attention_reference(tensors, options, o_exact.data, lse_exact.data);
  } catch (const Error& error) {
    raise(error);
  }
}

nb::dict verdict(const CallArguments& call, nb::handle o, nb::handle lse, std::int64_t max_rows) {
  const AttentionOptions options = attention_options(call);
  ArrayReader reader;
  AttentionTensors tensors;
  read_inputs(call, reader, tensors);
  check_rank(tensors.q, options.layout);
  tensors.o = reader.read("o", o);
  check_same_dtype(tensors.q, tensors.o, "o");
  if (!lse.is_none()) tensors.lse = reader.read("lse", lse);
  Verdict found;
  try {
    nb::gil_scoped_release release;
    found = attention_verdict(tensors, options, max_rows);
  } catch (const Error& error) {
    raise(error);
  }
  return as_dict(found);
}

}  // namespace fovea::python
