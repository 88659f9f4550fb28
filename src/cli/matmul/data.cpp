// SPDX-License-Identifier: Apache-2.0
#include "cli/matmul/data.h"

#include <algorithm>
#include <new>

#include "base/math.h"
#include "cli/random_inputs.h"
#include "contract/dtype.h"
#include "problem/tensor_checks.h"

namespace fovea::cli {

MatmulMemory::MatmulMemory(const MatmulCallShape& call, std::uint64_t seed) : tensors_(call.tensors) {
  constexpr std::size_t kAlignment = 64;
  Random random(seed);
  for (TensorView* view :
       {&tensors_.a, &tensors_.b, &tensors_.bias, &tensors_.a_scale, &tensors_.b_scale, &tensors_.d}) {
    if (!view->present()) continue;
    const std::int64_t bytes = extent_bytes(*view);
    const auto size = static_cast<std::size_t>(round_up(std::max<std::int64_t>(bytes, 1), kAlignment));
    auto& block = memory_.emplace_back(std::aligned_alloc(kAlignment, size));
    if (!block) throw std::bad_alloc();
    view->data = block.get();
    const std::int64_t count = bytes / size_bytes(view->dtype);
    for (std::int64_t i = 0; i < count; ++i) store_element(block.get(), view->dtype, i, random.normal());
  }
  if (tensors_.c.present()) tensors_.c = tensors_.d;
}

}  // namespace fovea::cli
