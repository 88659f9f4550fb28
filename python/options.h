// SPDX-License-Identifier: Apache-2.0
// Python values as options of a call. Each failure names the field, what it got, what it wanted.
#pragma once

#include <nanobind/nanobind.h>

#include "fovea/attention.h"
#include "fovea/matmul.h"
#include "python/attention.h"
#include "python/matmul.h"

namespace fovea::python {

AttentionOptions attention_options(const CallArguments& call);
MatmulOptions matmul_options(const MatmulArguments& call);

/// True or False (of Python or NumPy); raises InvalidType for anything else.
bool boolean(const char* name, nanobind::handle value);

}  // namespace fovea::python
