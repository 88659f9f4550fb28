// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with a sliding window from C++, its log-sum-exp, and what an error tells.
// find_package(fovea) gives the target fovea::fovea; see CMakeLists.txt.
#include <fovea/attention.h>
#include <fovea/error.h>
#include <fovea/runtime.h>

#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  constexpr int batch = 2, seqlen = 300, num_heads_q = 8, num_heads_kv = 2, head_dim = 64;
  std::vector<float> q(batch * seqlen * num_heads_q * head_dim, 0.5f);
  std::vector<float> k(batch * seqlen * num_heads_kv * head_dim, 0.25f);
  std::vector<float> v(k.size(), 3.0f);
  std::vector<float> o(q.size()), lse(batch * num_heads_q * seqlen);

  // Tensors are views: a pointer, a dtype, a shape and strides; head_dim is the last dimension.
  using fovea::DType;
  using fovea::TensorView;
  fovea::AttentionTensors tensors;
  tensors.q = TensorView::contiguous(q.data(), DType::kF32, {batch, seqlen, num_heads_q, head_dim});
  tensors.k = TensorView::contiguous(k.data(), DType::kF32, {batch, seqlen, num_heads_kv, head_dim});
  tensors.v = TensorView::contiguous(v.data(), DType::kF32, {batch, seqlen, num_heads_kv, head_dim});
  tensors.o = TensorView::contiguous(o.data(), DType::kF32, {batch, seqlen, num_heads_q, head_dim});
  tensors.lse = TensorView::contiguous(lse.data(), DType::kF32, {batch, num_heads_q, seqlen});

  // Each token sees itself and the 99 before it.
  fovea::attention_forward(tensors, {.causal = true, .window_left = 99});

  // All scores are equal, so each output is the mean of equal values, and lse = score + log(number of visible keys).
  const float score = 0.5f * 0.25f * head_dim / std::sqrt(float{head_dim});
  for (int row : {0, 50, 99, 299}) {
    const float expected = score + std::log(static_cast<float>(row < 99 ? row + 1 : 100));
    const float got = lse[row];
    if (std::abs(got - expected) > 1e-5f || std::abs(o[row * num_heads_q * head_dim] - 3.0f) > 1e-5f) {
      std::fprintf(stderr, "row %d: lse is %g, expected %g\n", row, got, expected);
      return 1;
    }
  }

  try {  // An error names the field, what it got, what it wanted and the way out.
    fovea::attention_forward(tensors, {.softmax_scale = NAN});
    return 1;
  } catch (const fovea::Error& error) {
    std::printf("fovea %s: windowed attention from C++; a wrong call says: [%s] %s\n", fovea::version(),
                error.field().c_str(), error.what());
  }
}
