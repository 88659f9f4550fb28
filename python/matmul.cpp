// SPDX-License-Identifier: Apache-2.0
#include "python/matmul.h"

#include <algorithm>

#include "fovea/matmul.h"
#include "fovea/runtime.h"
#include "fovea/verify.h"
#include "python/arrays.h"
#include "python/errors.h"
#include "python/options.h"
#include "python/torch_state.h"

namespace nb = nanobind;

namespace fovea::python {
namespace {

void check_matrix(const char* name, const TensorView& t) {
  if (t.ndim >= 2) return;
  raise_value(name, std::string(name) + " has " + std::to_string(t.ndim) +
                        " dimensions, must have at least 2; a vector is a matrix with one row or column");
}

void read_inputs(const MatmulArguments& call, ArrayReader& reader, MatmulTensors& tensors) {
  tensors.a = reader.read("a", call.a);
  tensors.b = reader.read("b", call.b);
  check_matrix("a", tensors.a);
  check_matrix("b", tensors.b);
  if (!call.c.is_none()) tensors.c = reader.read("c", call.c);
  if (!call.bias.is_none()) tensors.bias = reader.read("bias", call.bias);
  if (!call.a_scale.is_none()) tensors.a_scale = reader.read("a_scale", call.a_scale);
  if (!call.b_scale.is_none()) tensors.b_scale = reader.read("b_scale", call.b_scale);
}

/// Shape of d: leading dimensions of a and b broadcast, rows of a, columns of b. Returns the number of dimensions.
int output_shape(const TensorView& a, const TensorView& b, std::int64_t* shape) {
  const int ndim = std::max(a.ndim, b.ndim);
  for (int d = 0; d < ndim - 2; ++d) {
    const int of_a = d - (ndim - a.ndim), of_b = d - (ndim - b.ndim);
    const std::int64_t from_a = of_a >= 0 ? a.shape[of_a] : 1, from_b = of_b >= 0 ? b.shape[of_b] : 1;
    shape[d] = from_a == 1 ? from_b : from_a;
  }
  shape[ndim - 2] = a.shape[a.ndim - 2];
  shape[ndim - 1] = b.shape[b.ndim - 1];
  return ndim;
}

TensorView contiguous_like(const TensorView& a, const std::int64_t* shape, int ndim) {
  TensorView view;
  view.dtype = a.dtype == DType::kE4M3 ? DType::kBF16 : a.dtype;
  view.device = a.device;
  view.ndim = ndim;
  std::int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    view.shape[d] = shape[d];
    view.strides[d] = stride;
    stride *= shape[d];
  }
  return view;
}

}  // namespace

nb::object matmul(const MatmulArguments& call, nb::handle out, nb::handle stream, bool asks_torch) {
  const ArrayType& type = array_type(call.a);
  const Framework framework = type.framework;
  const auto is_same = [&](nb::handle array) { return array_type(array).framework == framework; };
  if (framework == Framework::kOther || !is_same(call.b) || !(call.c.is_none() || is_same(call.c)) ||
      !(call.bias.is_none() || is_same(call.bias)) || !(call.a_scale.is_none() || is_same(call.a_scale)) ||
      !(call.b_scale.is_none() || is_same(call.b_scale))) {
    return nb::borrow(Py_NotImplemented);
  }
  if (asks_torch && framework == Framework::kTorch && needs_torch({call.a, call.b, call.c, call.bias})) {
    return nb::borrow(Py_NotImplemented);
  }
  const MatmulOptions options = matmul_options(call);
  ArrayReader reader;
  MatmulTensors tensors;
  read_inputs(call, reader, tensors);
  nb::object d = nb::borrow(out);
  if (out.is_none()) {
    if (framework == Framework::kView) raise_value("out", "out must be given with Views");
    if (tensors.a.dtype == DType::kE4M3) return nb::borrow(Py_NotImplemented);  // d has another dtype
    std::int64_t shape[TensorView::kMaxDims];
    const int ndim = output_shape(tensors.a, tensors.b, shape);
    d = empty_array(framework, call.a, tensors.a, tensors.a.dtype, shape, ndim);
  }
  tensors.d = reader.read("out", d, /*writable=*/true);
  void* queue = stream.is_none() ? current_stream(type, tensors.a.device)
                                 : reinterpret_cast<void*>(nb::cast<std::uintptr_t>(stream));
  try {
    nb::gil_scoped_release release;
    fovea::matmul(tensors, options, Stream{queue});
  } catch (const Error& error) {
    raise(error);
  }
  return d;
}

nb::object explain_matmul(const MatmulArguments& call, bool json, const std::string& architecture) {
  const MatmulOptions options = matmul_options(call);
  ArrayReader reader;
  MatmulTensors tensors;
  read_inputs(call, reader, tensors);
  std::int64_t shape[TensorView::kMaxDims];
  const int ndim = output_shape(tensors.a, tensors.b, shape);
  tensors.d = contiguous_like(tensors.a, shape, ndim);
  std::string text;
  try {
    nb::gil_scoped_release release;
    text = matmul_explain(default_runtime(), tensors, options, json, architecture);
  } catch (const Error& error) {
    raise(error);
  }
  return nb::str(text.c_str(), text.size());
}

nb::dict matmul_verdict(const MatmulArguments& call, nb::handle d, std::int64_t max_rows) {
  const MatmulOptions options = matmul_options(call);
  ArrayReader reader;
  MatmulTensors tensors;
  read_inputs(call, reader, tensors);
  tensors.d = reader.read("d", d);
  Verdict found;
  try {
    nb::gil_scoped_release release;
    found = fovea::matmul_verdict(tensors, options, max_rows);
  } catch (const Error& error) {
    raise(error);
  }
  return as_dict(found);
}

}  // namespace fovea::python
