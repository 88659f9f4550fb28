// SPDX-License-Identifier: Apache-2.0
// The functions of the module that compute, explain and judge attention. Their arguments come from the Python functions
// of the same names, positional and in this order.
#pragma once

#include <nanobind/nanobind.h>

namespace fovea::python {

/// What the user may set, as Python gave it; None is the default.
struct CallArguments {
  nanobind::handle q, k, v;
  nanobind::handle causal, window, softmax_scale, softcap;
  nanobind::handle seq_lens_q, seq_lens_k, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k;
  nanobind::handle layout, alignment, math, config;
};

/// o, or (o, lse). NotImplemented if an array is beyond the fast paths, or, with asks_torch, if PyTorch's own machinery
/// (gradients, autocast, modes) must see the call: Python goes on then.
nanobind::object attention(const CallArguments& call, nanobind::handle return_lse, nanobind::handle out,
                           nanobind::handle lse_out, nanobind::handle stream, bool asks_torch);

/// Text, or JSON. Shapes and strides count, data are not read.
nanobind::object explain(const CallArguments& call, nanobind::handle return_lse, bool json,
                         const std::string& architecture);

/// Writes o and lse (NumPy float64, contiguous, or None) for arrays in CPU memory.
void reference(const CallArguments& call, nanobind::handle o, nanobind::handle lse);

/// A dict with passed, the errors and limits, and a report.
nanobind::dict verdict(const CallArguments& call, nanobind::handle o, nanobind::handle lse, std::int64_t max_rows);

}  // namespace fovea::python
