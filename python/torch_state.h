// SPDX-License-Identifier: Apache-2.0
// Whether PyTorch's own machinery must see a call: the question that each call of a tensor asks first.
#pragma once

#include <nanobind/nanobind.h>

#include <initializer_list>

namespace fovea::python {

/// True if gradients, autocast, a mode or a function transform is active for a call with these tensors (or None).
bool needs_torch(std::initializer_list<nanobind::handle> tensors);

/// Passes an error of PyTorch's on; in a child forked after CUDA was initialised one that says so, as PyTorch's does
/// not.
[[noreturn]] void throw_torch_error();

}  // namespace fovea::python
