// SPDX-License-Identifier: Apache-2.0
// The memory of a call and random numbers to put into it, the same on every machine for the same seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cli/problem_options.h"
#include "fovea/attention.h"

namespace fovea::cli {

/// kNormal: q, k, v of mean 0 and variance 1 (each the sum of four uniforms, at most 3.5 deviations out).
/// The others are made to be hard: kLargeScores has q 32 times larger, so that one key takes nearly all weight and most
/// exponentials underflow; kEqualScores has all keys equal, so that every weight is 1 / visible keys; kRisingScores has
/// each key score higher than the one before, so that the running maximum moves at every step.
enum class InputKind : unsigned char { kNormal, kLargeScores, kEqualScores, kRisingScores };
const char* name_of(InputKind kind);

/// SplitMix64: small, fast, and defined by its seed alone.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  float normal() {
    constexpr std::int64_t kMeanOfFour = 2 * 65535;
    constexpr float kInverseDeviation = 2.6428e-5f;  // of the sum of four uniforms on 0..65535: 65536 / sqrt(3)
    const std::uint64_t bits = next();
    const auto sum =
        static_cast<std::int64_t>((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
    return static_cast<float>(sum - kMeanOfFour) * kInverseDeviation;
  }

 private:
  std::uint64_t state_;
};

/// Tensors with memory behind them: contiguous in the layout, 64-byte aligned; o and lse are NaN until computed.
class CallData {
 public:
  /// Throws kInvalidArgument for sizes that overflow, std::bad_alloc where memory ends.
  CallData(const CallShape& shape, Layout layout);

  void fill(InputKind kind, std::uint64_t seed);

  const AttentionTensors& tensors() const { return tensors_; }
  std::int64_t input_bytes() const;  // of q, k and v

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  void allocate(TensorView& tensor);

  CallShape shape_;
  Layout layout_;
  AttentionTensors tensors_;
  std::vector<std::unique_ptr<void, Free>> memory_;
};

/// Element index of a tensor of this dtype becomes value, rounded to nearest even.
void store_element(void* data, DType dtype, std::int64_t index, float value);

}  // namespace fovea::cli
