// SPDX-License-Identifier: Apache-2.0
// The module fovea._core: thin, untyped, positional. The package's Python functions have the names, defaults and words.
// Calls of attention come in by CPython's vector call as it is: every argument may be None, and it costs 30 ns.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "fovea/runtime.h"
#include "python/arrays.h"
#include "python/attention.h"
#include "python/errors.h"
#include "python/jax.h"
#include "python/matmul.h"

namespace nb = nanobind;

namespace fovea::python {
namespace {

std::string info(bool json) {
  try {
    nb::gil_scoped_release release;
    return default_runtime().info(json);
  } catch (const Error& error) {
    raise(error);
  }
}

/// The first 17 arguments of the functions below, in the order of fovea._options.Options after q, k and v.
constexpr Py_ssize_t kCallArguments = 17;
CallArguments call_arguments(PyObject* const* a) {
  return {a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16]};
}

/// body's result as CPython wants it: exceptions become Python's.
template <typename Body>
PyObject* guarded(Py_ssize_t given, Py_ssize_t wanted, Body&& body) noexcept {
  if (given != wanted) {
    PyErr_Format(PyExc_TypeError, "takes %zd positional arguments, got %zd", wanted, given);
    return nullptr;
  }
  try {
    return body().release().ptr();
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyObject* call_attention(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kCallArguments + 4,
                 [&] { return attention(call_arguments(a), a[17], a[18], a[19], a[20], /*asks_torch=*/true); });
}

PyObject* call_attention_plain(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kCallArguments + 4,
                 [&] { return attention(call_arguments(a), a[17], a[18], a[19], a[20], /*asks_torch=*/false); });
}

PyObject* call_explain(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kCallArguments + 3, [&] {
    return explain(call_arguments(a), a[17], nb::cast<bool>(nb::handle(a[18])),
                   nb::cast<std::string>(nb::handle(a[19])));
  });
}

PyObject* call_reference(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kCallArguments + 2, [&] {
    reference(call_arguments(a), a[17], a[18]);
    return nb::none();
  });
}

PyObject* call_verdict(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kCallArguments + 3,
                 [&] { return verdict(call_arguments(a), a[17], a[18], nb::cast<std::int64_t>(nb::handle(a[19]))); });
}

PyObject* call_jax_options(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kCallArguments, [&] { return jax_options(call_arguments(a)); });
}

/// The first 11 arguments of the functions on matrices: a, b, c, bias, fovea._matmul's options in order, the scales.
constexpr Py_ssize_t kMatmulArguments = 11;
MatmulArguments matmul_arguments(PyObject* const* a) {
  return {a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10]};
}

PyObject* call_matmul(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kMatmulArguments + 2,
                 [&] { return matmul(matmul_arguments(a), a[11], a[12], /*asks_torch=*/true); });
}

PyObject* call_matmul_plain(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kMatmulArguments + 2,
                 [&] { return matmul(matmul_arguments(a), a[11], a[12], /*asks_torch=*/false); });
}

PyObject* call_explain_matmul(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kMatmulArguments + 2, [&] {
    return explain_matmul(matmul_arguments(a), nb::cast<bool>(nb::handle(a[11])),
                          nb::cast<std::string>(nb::handle(a[12])));
  });
}

PyObject* call_matmul_verdict(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kMatmulArguments + 2,
                 [&] { return matmul_verdict(matmul_arguments(a), a[11], nb::cast<std::int64_t>(nb::handle(a[12]))); });
}

PyObject* call_jax_matmul_options(PyObject*, PyObject* const* a, Py_ssize_t count) {
  return guarded(count, kMatmulArguments, [&] { return jax_matmul_options(matmul_arguments(a)); });
}

template <PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)>
void add(nb::module_& m, const char* name) {
  static PyMethodDef definition = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
                                   METH_FASTCALL, nullptr};
  m.attr(name) = nb::steal(PyCFunction_NewEx(&definition, nullptr, nullptr));
}

}  // namespace
}  // namespace fovea::python

NB_MODULE(_core, m) {
  using namespace fovea::python;
  nb::class_<View>(m, "View").def_static("make", &make_view, nb::arg("data"), nb::arg("dtype"), nb::arg("device"),
                                         nb::arg("device_index"), nb::arg("shape"), nb::arg("strides"),
                                         nb::arg("owner").none());
  add<call_attention>(m, "attention");
  add<call_attention_plain>(m, "attention_plain");
  add<call_explain>(m, "explain");
  add<call_reference>(m, "reference");
  add<call_verdict>(m, "verdict");
  add<call_matmul>(m, "matmul");
  add<call_matmul_plain>(m, "matmul_plain");
  add<call_explain_matmul>(m, "explain_matmul");
  add<call_matmul_verdict>(m, "matmul_verdict");
  add<call_jax_options>(m, "jax_options");
  add<call_jax_matmul_options>(m, "jax_matmul_options");
  m.attr("jax_targets") = jax_targets();
  m.def("info", &info, nb::arg("json"));
  m.attr("version") = fovea::version();
}
