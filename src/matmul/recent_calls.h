// SPDX-License-Identifier: Apache-2.0
// What this thread called last on a CPU, so that a call of the same shapes, strides and options is not described,
// checked and looked up again: 0.2 us of 0.3, where a product of 64 x 64 x 64 takes 5.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "plan/matmul_plan.h"
#include "problem/describe_matmul.h"

namespace fovea {

class RecentMatmul {
 public:
  /// True if the call would pass every check and be the remembered one at other addresses, which are then taken. stamp
  /// is that of the plans (plan_cache.h) from which a plan would be taken now.
  bool takes(const MatmulTensors& tensors, const MatmulOptions& options, std::uint64_t stamp);
  /// Not calls that name a kernel.
  void remember(const MatmulTensors& tensors, const MatmulOptions& options, const MatmulCall& call,
                std::shared_ptr<const MatmulPlan> plan, std::uint64_t stamp);

  const MatmulCall& call() const { return call_; }
  const MatmulPlan& plan() const { return *plan_; }

 private:
  static constexpr int kInputs = 6;

  void take_addresses(const MatmulTensors& tensors);

  std::uint64_t stamp_ = 0;  // 0: nothing is remembered
  MatmulTensors tensors_;
  MatmulOptions options_;
  std::int64_t d_bytes_ = 0;
  std::array<std::int64_t, kInputs> input_bytes_ = {};
  bool c_is_d_ = false;
  MatmulCall call_;
  std::shared_ptr<const MatmulPlan> plan_;
};

/// The place of this thread where such a call would be remembered: one of a few, by the sizes.
RecentMatmul& recent_matmul(const MatmulTensors& tensors);

}  // namespace fovea
