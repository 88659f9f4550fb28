// SPDX-License-Identifier: Apache-2.0
#include "python/errors.h"

namespace nb = nanobind;

namespace fovea::python {

void raise(const char* name, const std::string& field, const std::string& message) {
  const nb::object type = nb::module_::import_("fovea.errors").attr(name);
  const nb::object error = type(message.c_str());
  error.attr("field") = field.c_str();
  PyErr_SetObject(type.ptr(), error.ptr());
  throw nb::python_error();
}

void raise_value(const std::string& field, const std::string& message) { raise("InvalidArgument", field, message); }
void raise_type(const std::string& field, const std::string& message) { raise("InvalidType", field, message); }

void raise(const Error& error) {
  const char* name = "InternalError";
  switch (error.code()) {
    case ErrorCode::kInvalidArgument: name = "InvalidArgument"; break;
    case ErrorCode::kUnsupported: name = "Unsupported"; break;
    case ErrorCode::kCompile: name = "CompileError"; break;
    case ErrorCode::kCuda: name = "CudaError"; break;
    case ErrorCode::kInternal: break;
  }
  raise(name, error.field(), error.what());
}

nb::dict as_dict(const Verdict& found) {
  nb::dict result;
  result["passed"] = found.passed;
  result["max_error"] = found.max_error;
  result["plain_max_error"] = found.plain_max_error;
  result["max_limit"] = found.max_limit;
  result["rms_error"] = found.rms_error;
  result["plain_rms_error"] = found.plain_rms_error;
  result["rms_limit"] = found.rms_limit;
  result["rows_checked"] = found.rows_checked;
  result["report"] = nb::str(found.report.c_str(), found.report.size());
  return result;
}

std::string text_of(nb::handle object) {
  const nb::object text = nb::steal(PyObject_Str(object.ptr()));
  Py_ssize_t size = 0;
  const char* characters = text ? PyUnicode_AsUTF8AndSize(text.ptr(), &size) : nullptr;
  if (!characters) throw nb::python_error();
  return {characters, static_cast<std::size_t>(size)};
}

std::string type_text(nb::handle object) {
  const nb::handle type = object.type();
  const std::string module = text_of(type.attr("__module__")), name = text_of(type.attr("__qualname__"));
  return module == "builtins" ? name : module + "." + name;
}

}  // namespace fovea::python
