// SPDX-License-Identifier: Apache-2.0
// What comes back to Python beside arrays: failures as exceptions of fovea.errors with the field at fault, verdicts.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include "fovea/error.h"
#include "fovea/verify.h"

namespace fovea::python {

/// Raises fovea.errors.<name>(message) with .field; does not return.
[[noreturn]] void raise(const char* name, const std::string& field, const std::string& message);
/// A value that is wrong, a type or dtype that is wrong.
[[noreturn]] void raise_value(const std::string& field, const std::string& message);
[[noreturn]] void raise_type(const std::string& field, const std::string& message);
[[noreturn]] void raise(const Error& error);

/// What fovea.Validation is made of.
nanobind::dict as_dict(const Verdict& verdict);

/// str(object).
std::string text_of(nanobind::handle object);
/// "numpy.ndarray", for messages.
std::string type_text(nanobind::handle object);

}  // namespace fovea::python
