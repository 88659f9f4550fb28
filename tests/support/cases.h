// SPDX-License-Identifier: Apache-2.0
// The case table of attention: every kernel on every device is run through it and judged by the float64 reference.
// The awkward cases are always in: sequences of 0, 1 and odd lengths, rows that see nothing, more queries than keys,
// odd head_dim, strided views, NaN and infinities in memory that must not be read or seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fovea/attention.h"
#include "problem/attention_problem.h"
#include "tests/support/host_tensor.h"
#include "verify/attention.h"

namespace fovea::testing {

/// What the inputs hold.
enum class Fill : unsigned char {
  kNormal,       // standard normal numbers
  kLargeScores,  // scores in the hundreds: softmax is nearly one-hot, exp must not overflow
  kEqualScores,  // all keys the same
  kTiny,         // fp32 subnormals among the values
  kNanKey,       // one key in the middle is NaN, one value further on is +inf: only rows that see them may know
  kInfiniteKey,  // one key's first value is -inf: by the sign of q its score is +inf (the row is NaN) or -inf (unseen)
  kHugeHidden,   // keys that causal rows may not see have enormous scores
};

struct AttentionCase {
  std::string name;
  DType dtype = DType::kF32;
  Layout layout = Layout::kBSHD;
  int batch = 1;
  int seqlen_q = 1;
  int seqlen_k = 1;
  int num_heads_q = 1;
  int num_heads_kv = 1;
  int head_dim = 64;
  int head_dim_v = 0;  // 0: as head_dim
  bool causal = false;
  bool top_left = false;
  std::optional<int> window_left, window_right;
  std::optional<float> softmax_scale;
  float softcap = 0.0f;
  bool lse = true;
  std::vector<int> lengths_q, lengths_k;  // seq_lens; or the lengths of packed sequences when layout is kTHD
  bool strided = false;                   // rows and heads with gaps of NaN between them
  Fill fill = Fill::kNormal;
  bool quick = true;  // false: left out where time is short (sanitizers)
};

std::string to_string(const AttentionCase& c);

/// Under ThreadSanitizer all is ten times slower, and nothing can be found where one thread runs.
#ifdef __SANITIZE_THREAD__
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

/// Every case for one dtype. The list is the same for every device.
std::vector<AttentionCase> attention_cases(DType dtype);

/// The tensors of a case on the host. o and lse are filled with a pattern that no kernel writes.
struct CaseData {
  AttentionCase description;
  HostTensor q, k, v, o, lse, seq_lens_q, seq_lens_k, cu_seqlens_q, cu_seqlens_k;
  AttentionOptions options;

  explicit CaseData(const AttentionCase& c, std::uint32_t seed = 1);
  CaseData(const CaseData&) = delete;
  AttentionTensors tensors() const;
  /// All host tensors that are present, inputs first: for copying to a device.
  std::vector<HostTensor*> all();
};

/// What is right for this case; the same for every kernel and device.
ExpectedAttention expect(const CaseData& data, RowSample sample = {});

/// Judges o and lse of the host tensors: error rule, and that nothing outside o and lse was written.
/// Empty if right, else the problem, the place, expected and got.
std::string judge(const CaseData& data, const ExpectedAttention& expected);
std::string judge(const CaseData& data, RowSample sample = {});

/// Puts the pattern back into o and lse, for the next kernel.
void reset_outputs(CaseData& data);

}  // namespace fovea::testing
