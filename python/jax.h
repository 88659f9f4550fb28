// SPDX-License-Identifier: Apache-2.0
// Attention and matrix products inside compiled JAX programs: functions that XLA calls, and the options that they take
// along.
#pragma once

#include <nanobind/nanobind.h>

#include "python/attention.h"
#include "python/matmul.h"

namespace fovea::python {

/// [(name, platform, capsule)] for jax.ffi.register_ffi_target. Arguments of attention are q, k, v and the lengths and
/// offsets that are given, in the order of fovea._options.Options; results o and, if wanted, lse. Those of matmul are
/// a, b and what is given of c, bias, a_scale and b_scale; its result is d. Attributes are those of the functions
/// below.
nanobind::list jax_targets();

/// (numbers, reals, kernel): the options of a call as attributes, made of integers, floats and a text.
nanobind::tuple jax_options(const CallArguments& call);
nanobind::tuple jax_matmul_options(const MatmulArguments& call);

}  // namespace fovea::python
