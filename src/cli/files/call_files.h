// SPDX-License-Identifier: Apache-2.0
// A call of attention on files: which files, as typed on the command line; their tensors; and the outputs.
#pragma once

#include <optional>
#include <string>

#include "cli/files/atomic_file.h"
#include "cli/files/file_array.h"
#include "fovea/attention.h"

namespace fovea::cli {

/// As typed. Empty is "not given". Lengths are a list as in "5,7,9", a .npy file, or with input the name of a tensor.
struct InputPaths {
  std::string q, k, v;          // .npy files, or all three in
  std::string input;            // one .safetensors file,
  std::string names = "q,k,v";  // under these names
  std::string seq_lens, seq_lens_q, seq_lens_k;
  std::string cu_seqlens, cu_seqlens_q, cu_seqlens_k;
};

/// The inputs of a call and what keeps them alive.
struct CallInputs {
  HostTensor q, k, v;
  HostTensor seq_lens_q, seq_lens_k, cu_seqlens_q, cu_seqlens_k;
};

/// Throws kInvalidArgument naming the option that is missing, or excluded by another.
void check_usage(const InputPaths& paths, Layout layout);

/// Reads and converts everything. Throws kInvalidArgument naming the file.
CallInputs read_inputs(const InputPaths& paths, std::optional<DType> dtype);

/// Where o and lse go, opened but not yet visible.
class CallOutputs {
 public:
  /// lse may be empty (not wanted), or the same .safetensors file as o. Throws kInvalidArgument naming the path.
  CallOutputs(const std::string& o, const std::string& lse);
  /// Throws kInvalidArgument for names that tell no format, or one .npy file for both. Opens nothing.
  static void check_usage(const std::string& o, const std::string& lse);

  bool wants_lse() const { return wants_lse_; }
  /// Writes and puts in place. lse is ignored unless wanted.
  void write(const TensorView& o, const TensorView& lse);

 private:
  bool wants_lse_;
  AtomicFile o_;
  std::optional<AtomicFile> lse_;  // empty when not wanted or in the same file
};

/// The inputs as the call's tensors, and memory for its outputs: o as q with v's last dimension, lse if wanted.
/// Tensors with too few dimensions get outputs without elements: the call's own checks refuse them with better words.
struct CallTensors {
  AttentionTensors tensors;
  HostTensor o, lse;
};
CallTensors call_tensors(const CallInputs& inputs, Layout layout, bool wants_lse);

}  // namespace fovea::cli
