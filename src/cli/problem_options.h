// SPDX-License-Identifier: Apache-2.0
// A call of attention described on the command line. add_call_options: everything but shapes (also for `run`, whose
// shapes come from files); add_shape_options: shapes, dtype and seed. The same names in every command.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fovea/attention.h"
#include "fovea/runtime.h"

namespace CLI {
class App;
}

namespace fovea::cli {

/// As typed. resolve_call turns it into what the library takes.
struct CallOptions {
  bool causal = false;
  bool top_left = false;
  std::string window;  // "L,R", each a number or "open"
  float softcap = 0.0f;
  std::optional<float> scale;
  std::string layout = "bshd";
  int threads = 0;
  std::string isa;
  std::string kernel;
  int block_q = 0;
  int block_k = 0;
};

/// As typed. resolve_shape turns it into numbers.
struct ShapeOptions {
  int batch = 1;
  std::optional<int> seqlen, seqlen_q, seqlen_k;
  std::string heads = "16";  // "32" or "32/8": query heads / kv heads
  std::optional<int> heads_q, heads_kv;
  std::string head_dim = "128";  // "128" or "192/128": of q and k / of v
  std::string dtype = "bf16";
  bool lse = false;
  std::uint64_t seed = 1;
};

/// The shape of a call with its numbers filled in.
struct CallShape {
  DType dtype = DType::kBF16;
  int batch = 1;
  int seqlen_q = 0;
  int seqlen_k = 0;
  int num_heads_q = 0;
  int num_heads_kv = 0;
  int head_dim_qk = 0;
  int head_dim_v = 0;
  bool wants_lse = false;
};

/// --threads and --isa: a part of add_call_options, for commands without a call.
void add_machine_options(CLI::App& command, CallOptions& options);
void add_call_options(CLI::App& command, CallOptions& options);
void add_shape_options(CLI::App& command, ShapeOptions& options);

/// Throw kInvalidArgument naming the option.
AttentionOptions resolve_call(const CallOptions& options);
CallShape resolve_shape(const ShapeOptions& options, int default_seqlen);
RuntimeOptions runtime_options(const CallOptions& options);
DType parse_dtype(const std::string& name);

/// Packed sequences: says how long the longest is, which planning without data cannot find out.
void fill_in_lengths(const CallShape& shape, AttentionOptions& options);
/// Contiguous tensors of this shape with null data, for planning. For kTHD every sequence has the full length and
/// cu_seqlens is null too.
AttentionTensors tensors_without_data(const CallShape& shape, Layout layout);

/// True when an option on the command line describes a problem, so that no default table is meant. --dtype alone may
/// choose rows of a table.
bool describes_a_problem(const CLI::App& command, bool dtype_counts = true);

}  // namespace fovea::cli
