// SPDX-License-Identifier: Apache-2.0
// Enumerations that users, host code and GPU kernels share. NVRTC reads this file too: no includes, no std types.
#pragma once

namespace fovea {

/// Element type of a tensor. kI32 is for lengths and offsets only. kE4M3 is fp8 of 4 bits of exponent and 3 of mantissa
/// as in OCP's "e4m3fn" (no infinities, largest number 448, NaN 0x7f and 0xff), for operands of matrix products only.
enum class DType : unsigned char { kF32, kF16, kBF16, kI32, kE4M3 };

/// Which keys a query row may see. Every kind is an interval of keys per row (contract/mask.h).
enum class MaskKind : unsigned char { kNone, kCausal, kWindow };

/// Where the diagonal of a causal or window mask lies when seqlen_q != seqlen_k.
/// kBottomRight: the last query sees the last key (the default). kTopLeft: query i stands at key i.
enum class MaskAlignment : unsigned char { kBottomRight, kTopLeft };

/// Order of a tensor's dimensions. kBSHD (batch, seqlen, num_heads, head_dim); kBHSD (batch, num_heads, seqlen,
/// head_dim); kTHD (total tokens, num_heads, head_dim), packed sequences with cu_seqlens.
enum class Layout : unsigned char { kBSHD, kBHSD, kTHD };

/// How keys and values lie in memory.
enum class KeyValueLayout : unsigned char { kDense, kPacked, kPaged };

/// kExact: results as of the input's own precision (fp32 in means fp32 accuracy). kFast: reduced-precision products
/// of fp32 inputs are allowed (TF32).
enum class Math : unsigned char { kExact, kFast };

/// How a matrix lies in memory: kRowMajor has its columns next to each other (stride 1), kColumnMajor its rows (a
/// transposed matrix), kStrided neither.
enum class MatrixOrder : unsigned char { kRowMajor, kColumnMajor, kStrided };

/// Function applied to each element of a matrix product. kGelu is x * Phi(x) with the error function, not the
/// approximation by tanh; kSilu is x / (1 + exp(-x)).
enum class Activation : unsigned char { kNone, kRelu, kGelu, kSilu };

enum class DeviceKind : unsigned char { kCPU, kCUDA };

/// A device by kind and ordinal; the ordinal of a CPU is 0.
struct Device {
  DeviceKind kind = DeviceKind::kCPU;
  int index = 0;
  friend constexpr bool operator==(const Device& a, const Device& b) { return a.kind == b.kind && a.index == b.index; }
};

/// A queue of work on a device, owned by the caller. handle is a CUstream (cudaStream_t); null is the default stream.
/// On a CPU work is done when the call returns and the handle is ignored.
struct Stream {
  void* handle = nullptr;
};

}  // namespace fovea
