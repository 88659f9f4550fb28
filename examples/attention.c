/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention from C: two heads of four tokens, checked where the answer is known.
 * cc attention.c $(pkg-config --cflags --libs fovea) */
#include <fovea/fovea.h>
#include <stdio.h>

enum { kSeqlen = 4, kHeads = 2, kHeadDim = 8, kElements = kSeqlen * kHeads * kHeadDim };

/* Prints what went wrong; the detail belongs to this thread. */
static int failed(void) {
  const fovea_error_detail* detail = fovea_last_error();
  fprintf(stderr, "status %d, field '%s': %s\n", (int)detail->code, detail->field, detail->message);
  return 1;
}

int main(void) {
  float q[kElements], k[kElements], v[kElements], o[kElements];
  for (int i = 0; i < kElements; ++i) {
    q[i] = 0.01f * (float)i;
    k[i] = 0.02f * (float)(i % 5);
    v[i] = (float)i;
  }

  /* Tensors are views: a pointer, a dtype, a shape (batch, seqlen, num_heads, head_dim) and strides. */
  const int64_t shape[4] = {1, kSeqlen, kHeads, kHeadDim};
  const fovea_tensor q_view = fovea_tensor_contiguous(q, FOVEA_F32, 4, shape);
  const fovea_tensor k_view = fovea_tensor_contiguous(k, FOVEA_F32, 4, shape);
  const fovea_tensor v_view = fovea_tensor_contiguous(v, FOVEA_F32, 4, shape);
  const fovea_tensor o_view = fovea_tensor_contiguous(o, FOVEA_F32, 4, shape);

  fovea_attention_tensors tensors;
  fovea_attention_tensors_init(&tensors);
  tensors.q = &q_view;
  tensors.k = &k_view;
  tensors.v = &v_view;
  tensors.o = &o_view;

  fovea_attention_options options;
  fovea_attention_options_init(&options);
  options.causal = 1;

  /* NULL: the runtime of the process, and no stream, as the tensors are in CPU memory. */
  if (fovea_attention_forward(NULL, &tensors, &options, NULL) != FOVEA_OK) return failed();

  /* The first token sees only itself, so its output is its own value, up to rounding. */
  for (int i = 0; i < kHeads * kHeadDim; ++i) {
    const float error = o[i] - v[i];
    if (error > 1e-5f || error < -1e-5f) return fprintf(stderr, "o[%d] is %g, expected %g\n", i, o[i], v[i]), 1;
  }
  printf("fovea %s: causal attention from C, first row as expected\n", fovea_version());
  return 0;
}
