// SPDX-License-Identifier: Apache-2.0
// The functions of the module that compute, explain and judge matrix products; arguments as in python/attention.h.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

namespace fovea::python {

struct MatmulArguments {
  nanobind::handle a, b, c, bias;
  nanobind::handle alpha, beta, activation, math, config;
  nanobind::handle a_scale, b_scale;
};

/// d. NotImplemented where Python goes on, as for attention.
nanobind::object matmul(const MatmulArguments& call, nanobind::handle out, nanobind::handle stream, bool asks_torch);

/// Text, or JSON; d has the shape and dtype of a call without out.
nanobind::object explain_matmul(const MatmulArguments& call, bool json, const std::string& architecture);

nanobind::dict matmul_verdict(const MatmulArguments& call, nanobind::handle d, std::int64_t max_rows);

}  // namespace fovea::python
