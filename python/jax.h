// SPDX-License-Identifier: Apache-2.0
// Attention inside compiled JAX programs on CPUs: a function that XLA calls, and the options that it takes along.
#pragma once

#include <nanobind/nanobind.h>

#include "python/attention.h"

namespace fovea::python {

/// A capsule for jax.ffi.register_ffi_target. Its arguments are q, k, v and the lengths and offsets that are given, in
/// the order of fovea._options.Options; its results o and, if wanted, lse; its attributes those of jax_options.
nanobind::object jax_attention();

/// (numbers, reals, kernel): the options of a call as attributes, made of integers, floats and a text.
nanobind::tuple jax_options(const CallArguments& call);

}  // namespace fovea::python
