/* SPDX-License-Identifier: Apache-2.0 */
/* The ABI as a C compiler sees it: fovea_test_layout gives sizes and offsets to compare with what C++ sees. */
#include "fovea/fovea.h"

_Static_assert(sizeof(fovea_status) == 4, "enumerations travel as int32_t");
_Static_assert(offsetof(fovea_runtime_options, struct_size) == 0, "struct_size is first");
_Static_assert(offsetof(fovea_attention_tensors, struct_size) == 0, "struct_size is first");
_Static_assert(offsetof(fovea_attention_options, struct_size) == 0, "struct_size is first");

/* Published: a change here breaks programs that exist. */
_Static_assert(sizeof(void*) != 8 || sizeof(fovea_tensor) == 104, "fovea_tensor never grows");
_Static_assert(sizeof(void*) != 8 || offsetof(fovea_attention_options, softmax_scale) == 40, "offset of softmax_scale");
_Static_assert(sizeof(void*) != 8 || offsetof(fovea_attention_options, kernel) == 80, "offset of kernel");
_Static_assert(offsetof(fovea_matmul_tensors, struct_size) == 0, "struct_size is first");
_Static_assert(sizeof(void*) != 8 || offsetof(fovea_matmul_options, kernel) == 48, "offset of kernel");

void fovea_test_layout(size_t sizes[6]) {
  sizes[0] = sizeof(fovea_tensor);
  sizes[1] = sizeof(fovea_runtime_options);
  sizes[2] = sizeof(fovea_attention_tensors);
  sizes[3] = sizeof(fovea_attention_options);
  sizes[4] = offsetof(fovea_tensor, strides);
  sizes[5] = offsetof(fovea_attention_options, kernel);
}

/* Causal attention of two tokens, one head, head_dim 2. Returns the status; o gets the output. */
fovea_status fovea_test_forward(float o[4]) {
  float q[4] = {1, 2, 3, 4}, k[4] = {1, 0, 0, 1}, v[4] = {5, 6, 7, 8};
  const int64_t shape[4] = {1, 2, 1, 2};
  const fovea_tensor views[4] = {
      fovea_tensor_contiguous(q, FOVEA_F32, 4, shape), fovea_tensor_contiguous(k, FOVEA_F32, 4, shape),
      fovea_tensor_contiguous(v, FOVEA_F32, 4, shape), fovea_tensor_contiguous(o, FOVEA_F32, 4, shape)};
  fovea_attention_tensors tensors;
  fovea_attention_options options;
  fovea_attention_tensors_init(&tensors);
  fovea_attention_options_init(&options);
  tensors.q = &views[0];
  tensors.k = &views[1];
  tensors.v = &views[2];
  tensors.o = &views[3];
  options.causal = 1;
  return fovea_attention_forward(NULL, &tensors, &options, NULL);
}

/* d = relu(2 a b + bias) of 2 x 2 matrices, b given by its transpose. Returns the status; d gets the output. */
fovea_status fovea_test_matmul(float d[4]) {
  float a[4] = {1, 2, 3, 4}, b_transposed[4] = {5, 7, -6, -8}, bias[2] = {1, 1};
  const int64_t shape[2] = {2, 2};
  const fovea_tensor a_view = fovea_tensor_contiguous(a, FOVEA_F32, 2, shape);
  fovea_tensor b_view = fovea_tensor_contiguous(b_transposed, FOVEA_F32, 2, shape);
  const fovea_tensor d_view = fovea_tensor_contiguous(d, FOVEA_F32, 2, shape);
  const fovea_tensor bias_view = fovea_tensor_contiguous(bias, FOVEA_F32, 1, shape);
  fovea_matmul_tensors tensors;
  fovea_matmul_options options;
  b_view.strides[0] = 1;
  b_view.strides[1] = 2;
  fovea_matmul_tensors_init(&tensors);
  fovea_matmul_options_init(&options);
  tensors.a = &a_view;
  tensors.b = &b_view;
  tensors.d = &d_view;
  tensors.bias = &bias_view;
  options.has_alpha = 1;
  options.alpha = 2.0f;
  options.activation = FOVEA_RELU;
  return fovea_matmul(NULL, &tensors, &options, NULL);
}
