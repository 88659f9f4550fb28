/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI. Plain C11, for C and for everything that calls C.
 *
 * Every function that can fail returns a fovea_status; fovea_last_error() tells the field and the message. No C++
 * exception leaves the library. A struct that may grow begins with struct_size: set it through its _init function, and
 * a program built today keeps working with a newer library, which takes what the program does not know as default. An
 * older library refuses a newer program's struct if fields that it does not know are set.
 * All-zero options are the defaults. Numbers of the enumerations are never given a second meaning. */
#ifndef FOVEA_FOVEA_H
#define FOVEA_FOVEA_H

#include <stddef.h>
#include <stdint.h>

#include "fovea/export.h"
#include "fovea/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when something is added; a program needs a library whose number is at least the one it was built with. */
#define FOVEA_ABI_VERSION 3

/* Enumerations travel as int32_t, so that their size is the same for every compiler. */
typedef int32_t fovea_status;
enum {
  FOVEA_OK = 0,
  FOVEA_INVALID_ARGUMENT = 1, /* the call is wrong; the detail names the field */
  FOVEA_UNSUPPORTED = 2,      /* legal, but no kernel does it; the message lists each kernel's reason */
  FOVEA_COMPILE = 3,          /* run-time compilation failed; the message has the log */
  FOVEA_CUDA_ERROR = 4,       /* the driver failed */
  FOVEA_INTERNAL = 5          /* a bug in Fovea, or a failure of the machine such as no memory */
};

/* dtype; FOVEA_E4M3 (fp8 "e4m3fn", from ABI version 3 on) is for a and b of a matrix product */
enum { FOVEA_F32 = 0, FOVEA_F16 = 1, FOVEA_BF16 = 2, FOVEA_I32 = 3, FOVEA_E4M3 = 4 };
enum { FOVEA_CPU = 0, FOVEA_CUDA = 1 };                 /* device_kind */
enum { FOVEA_BSHD = 0, FOVEA_BHSD = 1, FOVEA_THD = 2 }; /* layout */
enum { FOVEA_BOTTOM_RIGHT = 0, FOVEA_TOP_LEFT = 1 };    /* alignment of causal and window masks */
enum { FOVEA_MATH_EXACT = 0, FOVEA_MATH_FAST = 1 };     /* math */
enum { FOVEA_NO_ACTIVATION = 0, FOVEA_RELU = 1, FOVEA_GELU = 2, FOVEA_SILU = 3 }; /* activation */
enum { FOVEA_AUTO = 0, FOVEA_YES = 1, FOVEA_NO = 2 };                             /* choices left to the library */

/* A view of memory that the caller owns. Strides count elements. ndim is at most 5; entries beyond it are ignored.
 * This struct never grows. */
typedef struct fovea_tensor {
  void* data;
  int32_t dtype;
  int32_t device_kind;
  int32_t device_index;
  int32_t ndim;
  int64_t shape[5];
  int64_t strides[5];
} fovea_tensor;

/* A contiguous (row-major) tensor in CPU memory. At most 5 dimensions are taken; shape may be NULL if ndim is 0. */
FOVEA_API fovea_tensor fovea_tensor_contiguous(void* data, int32_t dtype, int32_t ndim, const int64_t* shape);

/* Detail of the last call of this thread that failed; valid until the next one fails. Never NULL, nor are its texts. */
typedef struct fovea_error_detail {
  fovea_status code;
  const char* field; /* the argument at fault, such as "k" or "softcap", or "" */
  const char* message;
} fovea_error_detail;
FOVEA_API const fovea_error_detail* fovea_last_error(void);

FOVEA_API const char* fovea_version(void);      /* "0.1.0" */
FOVEA_API int32_t fovea_abi_version(void);      /* FOVEA_ABI_VERSION of the library */
FOVEA_API void fovea_string_free(char* string); /* of a string that a call gave; NULL is allowed */

/* Threads, settings, devices, compiled kernels and plans. Any thread may use a runtime. Where a call takes one, NULL
 * means the runtime of the process. */
typedef struct fovea_runtime fovea_runtime;

typedef struct fovea_runtime_options {
  size_t struct_size;
  int32_t num_threads; /* 0: FOVEA_NUM_THREADS, OMP_NUM_THREADS, else all processors of this process */
  int32_t reserved;    /* 0 */
  const char* cpu_isa; /* NULL: the best there is; "baseline", "avx2", "avx512", "avx512bf16", "amx" */
  const char* cache_dir;
  const char* kernel_dir;
} fovea_runtime_options;
FOVEA_API void fovea_runtime_options_init(fovea_runtime_options* options);

/* options may be NULL. *runtime is set only on success; end it with fovea_runtime_destroy, which takes NULL too. */
FOVEA_API fovea_status fovea_runtime_create(const fovea_runtime_options* options, fovea_runtime** runtime);
FOVEA_API void fovea_runtime_destroy(fovea_runtime* runtime);
/* Processor, caches, instruction sets, threads, GPUs: text, or JSON if json is not 0. Free *text with
 * fovea_string_free. */
FOVEA_API fovea_status fovea_runtime_info(fovea_runtime* runtime, int32_t json, char** text);

/* What attention reads and writes; shapes as in fovea/attention.h. NULL means absent: q, k, v and o are needed. */
typedef struct fovea_attention_tensors {
  size_t struct_size;
  const fovea_tensor* q;
  const fovea_tensor* k;
  const fovea_tensor* v;
  const fovea_tensor* o;            /* written */
  const fovea_tensor* lse;          /* written: natural logarithm of the sum of exponentials, FOVEA_F32 */
  const fovea_tensor* seq_lens_q;   /* (batch), FOVEA_I32 */
  const fovea_tensor* seq_lens_k;   /* (batch), FOVEA_I32 */
  const fovea_tensor* cu_seqlens_q; /* (batch + 1), FOVEA_I32, with FOVEA_THD */
  const fovea_tensor* cu_seqlens_k; /* (batch + 1), FOVEA_I32, with FOVEA_THD */
  const fovea_tensor* page_table;   /* (batch, pages), FOVEA_I32 */
} fovea_attention_tensors;
FOVEA_API void fovea_attention_tensors_init(fovea_attention_tensors* tensors);

typedef struct fovea_attention_options {
  size_t struct_size;
  int32_t layout;
  int32_t causal;           /* not 0: a query sees no key after its own position */
  int32_t alignment;        /* where the diagonal lies when seqlen_q and seqlen_k differ */
  int32_t has_window_left;  /* not 0: a query at position p sees no key before p - window_left */
  int32_t has_window_right; /* not 0: … and none after p + window_right */
  int32_t window_left;
  int32_t window_right;
  int32_t has_softmax_scale; /* 0: 1/sqrt(head_dim_qk) */
  float softmax_scale;
  float softcap; /* s -> softcap * tanh(s / softcap); 0: off */
  int32_t math;
  int32_t max_seqlen_q; /* with FOVEA_THD: the longest sequence, if known */
  int32_t max_seqlen_k;
  int32_t block_q; /* tile sizes to insist on; 0: the library chooses */
  int32_t block_k;
  int32_t stages;
  int32_t warps;
  int32_t reserved;   /* 0 */
  const char* kernel; /* NULL: the first that supports the call; else this one or fail */
} fovea_attention_options;
FOVEA_API void fovea_attention_options_init(fovea_attention_options* options);

/* o = softmax(softmax_scale * q k^T + mask) v. Exact, in O(seqlen) memory. A row that sees no key gives o = 0 and
 * lse = -inf. options may be NULL. stream is a CUstream (cudaStream_t) for tensors on a GPU; on a CPU the work is done
 * when the call returns. */
FOVEA_API fovea_status fovea_attention_forward(fovea_runtime* runtime, const fovea_attention_tensors* tensors,
                                               const fovea_attention_options* options, void* stream);

/* How the call would be computed, and why other kernels refused. Data of q, k, v and o may be NULL. architecture such
 * as "sm_89" plans for a GPU that need not be here; NULL plans for the tensors' device. Free *text with
 * fovea_string_free. */
FOVEA_API fovea_status fovea_attention_explain(fovea_runtime* runtime, const fovea_attention_tensors* tensors,
                                               const fovea_attention_options* options, int32_t json,
                                               const char* architecture, char** text);

/* What a matrix product reads and writes; shapes as in fovea/matmul.h: a (..., m, k), b (..., k, n), d (..., m, n).
 * Any strides: a transposed matrix is its view with two strides exchanged. NULL means absent: a, b and d are needed. */
typedef struct fovea_matmul_tensors {
  size_t struct_size;
  const fovea_tensor* a;
  const fovea_tensor* b;
  const fovea_tensor* d;    /* written */
  const fovea_tensor* c;    /* (..., m, n), read if beta is not 0; may be exactly d */
  const fovea_tensor* bias; /* (n) */
  /* From ABI version 3 on, for a and b of FOVEA_E4M3: FOVEA_F32 factors of their elements, one number for each of shape
   * (1), or both per block of 128: a_scale (..., m, ceil(k / 128)), b_scale (..., ceil(k / 128), ceil(n / 128)). */
  const fovea_tensor* a_scale;
  const fovea_tensor* b_scale;
} fovea_matmul_tensors;
FOVEA_API void fovea_matmul_tensors_init(fovea_matmul_tensors* tensors);

typedef struct fovea_matmul_options {
  size_t struct_size;
  int32_t has_alpha; /* 0: alpha is 1 */
  float alpha;
  float beta; /* 0: c is not read */
  int32_t activation;
  int32_t math;
  int32_t block_m; /* all three positive, or 0 for the library's choice */
  int32_t block_n;
  int32_t block_k;
  int32_t persistent; /* FOVEA_AUTO, FOVEA_YES, FOVEA_NO; means nothing on a CPU */
  int32_t reserved;   /* 0 */
  const char* kernel; /* NULL: the first that supports the call; else this one or fail */
} fovea_matmul_options;
FOVEA_API void fovea_matmul_options_init(fovea_matmul_options* options);

/* d = activation(alpha * a b + beta * c + bias), sums in fp32, d rounded once. options may be NULL. stream as above. */
FOVEA_API fovea_status fovea_matmul(fovea_runtime* runtime, const fovea_matmul_tensors* tensors,
                                    const fovea_matmul_options* options, void* stream);

/* As fovea_attention_explain. */
FOVEA_API fovea_status fovea_matmul_explain(fovea_runtime* runtime, const fovea_matmul_tensors* tensors,
                                            const fovea_matmul_options* options, int32_t json, const char* architecture,
                                            char** text);

#ifdef __cplusplus
}
#endif

#endif
