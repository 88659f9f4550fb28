// SPDX-License-Identifier: Apache-2.0
#include "matmul/recent_calls.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "contract/dtype.h"
#include "problem/tensor_checks.h"

namespace fovea {
namespace {

std::uintptr_t address_of(const TensorView& t) { return reinterpret_cast<std::uintptr_t>(t.data); }

/// All but the address, of which what decides about a plan is compared: whether there is one.
bool is_alike(const TensorView& x, const TensorView& y) {
  if (x.ndim != y.ndim) return false;
  if (x.ndim == 0) return true;
  if (x.dtype != y.dtype || !(x.device == y.device) || (x.data == nullptr) != (y.data == nullptr)) return false;
  if (address_of(x) % static_cast<std::uintptr_t>(size_bytes(x.dtype)) != 0) return false;  // to be refused
  for (int i = 0; i < x.ndim; ++i) {
    if (x.shape[i] != y.shape[i] || x.strides[i] != y.strides[i]) return false;
  }
  return true;
}

/// By bits, so that a factor of -0 is not one of 0.
bool is_same(float x, float y) { return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y); }

bool is_alike(const MatmulOptions& x, const MatmulOptions& y) {
  return is_same(x.alpha, y.alpha) && is_same(x.beta, y.beta) && x.activation == y.activation && x.math == y.math &&
         x.deterministic == y.deterministic && x.kernel.empty() && x.tile == y.tile;
}

constexpr TensorView MatmulTensors::*kInputViews[] = {&MatmulTensors::a,       &MatmulTensors::b,
                                                      &MatmulTensors::c,       &MatmulTensors::bias,
                                                      &MatmulTensors::a_scale, &MatmulTensors::b_scale};

}  // namespace

bool RecentMatmul::takes(const MatmulTensors& tensors, const MatmulOptions& options, std::uint64_t stamp) {
  static_assert(std::size(kInputViews) == kInputs);
  if (stamp_ != stamp || !is_alike(options, options_) || !is_alike(tensors.d, tensors_.d)) return false;
  if (c_is_d_ != (tensors.c.data == tensors.d.data)) return false;
  const std::uintptr_t begin = address_of(tensors.d), end = begin + static_cast<std::uintptr_t>(d_bytes_);
  for (int i = 0; i < kInputs; ++i) {
    const TensorView& x = tensors.*kInputViews[i];
    if (!is_alike(x, tensors_.*kInputViews[i])) return false;
    const std::uintptr_t first = address_of(x), last = first + static_cast<std::uintptr_t>(input_bytes_[i]);
    if (begin < last && first < end) return false;  // an overlap: describe_matmul says what is wrong
  }
  take_addresses(tensors);
  return true;
}

void RecentMatmul::take_addresses(const MatmulTensors& t) {
  MatmulArgs& args = call_.args;
  args.a.data = t.a.data, args.b.data = t.b.data, args.d = t.d.data;
  if (args.c.data) args.c.data = t.c.data;
  if (args.bias) args.bias = t.bias.data;
  if (args.a_scale.data) args.a_scale.data = static_cast<const float*>(t.a_scale.data);
  if (args.b_scale.data) args.b_scale.data = static_cast<const float*>(t.b_scale.data);
}

void RecentMatmul::remember(const MatmulTensors& tensors, const MatmulOptions& options, const MatmulCall& call,
                            std::shared_ptr<const MatmulPlan> plan, std::uint64_t stamp) {
  stamp_ = 0;
  tensors_ = tensors;
  options_ = options;
  call_ = call;
  plan_ = std::move(plan);
  d_bytes_ = extent_bytes(tensors.d);
  c_is_d_ = tensors.c.data == tensors.d.data;
  for (int i = 0; i < kInputs; ++i) {
    const TensorView& x = tensors.*kInputViews[i];
    // c that is d is no overlap; nor is one that is not read.
    const bool may_overlap = &x == &tensors.c && (c_is_d_ || options.beta == 0.0f);
    input_bytes_[i] = may_overlap ? 0 : extent_bytes(x);
  }
  stamp_ = stamp;
}

RecentMatmul& recent_matmul(const MatmulTensors& t) {
  constexpr std::uint64_t kPlaces = 8;
  static thread_local std::array<RecentMatmul, kPlaces> places;
  const auto size = [](const TensorView& x, int from_last) {
    const int at = std::clamp(x.ndim - from_last, 0, TensorView::kMaxDims - 1);
    return static_cast<std::uint64_t>(x.shape[at]);
  };
  const std::uint64_t sizes =
      size(t.d, 2) + 3 * size(t.d, 1) + 5 * size(t.a, 1) + static_cast<std::uint64_t>(t.a.dtype);
  return places[(sizes * 0x9e3779b97f4a7c15ull) >> 61];
}

}  // namespace fovea
