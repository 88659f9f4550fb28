// SPDX-License-Identifier: Apache-2.0
#include "cli/random_inputs.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/math.h"
#include "contract/dtype.h"

namespace fovea::cli {
namespace {

constexpr std::int64_t kAlignment = 64;

std::int64_t bytes_of(const TensorView& tensor) {
  std::int64_t bytes = size_bytes(tensor.dtype);
  for (int d = 0; d < tensor.ndim; ++d) {
    const auto product = checked_product({bytes, tensor.shape[d]});
    check(product.has_value(), ErrorCode::kInvalidArgument, "shape", "the tensor's size does not fit in 63 bits");
    bytes = *product;
  }
  return bytes;
}

std::int64_t elements_of(const TensorView& tensor) { return bytes_of(tensor) / size_bytes(tensor.dtype); }

void fill_normal(const TensorView& tensor, Random random, float scale) {
  const std::int64_t n = elements_of(tensor);
  for (std::int64_t i = 0; i < n; ++i) store_element(tensor.data, tensor.dtype, i, scale * random.normal());
}

/// Every key of every head becomes direction * factor(position in the sequence).
template <typename Factor>
void fill_keys(const TensorView& k, Layout layout, int seqlen, Random random, Factor factor) {
  const std::int64_t dim = k.shape[k.ndim - 1];
  std::vector<float> direction(static_cast<std::size_t>(dim));
  for (float& x : direction) x = random.normal();
  const std::int64_t heads = layout == Layout::kBHSD ? 1 : k.shape[k.ndim - 2];  // heads between two positions
  const std::int64_t rows = dim > 0 ? elements_of(k) / dim : 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float by = factor(static_cast<int>(row / heads % std::max(seqlen, 1)));
    for (std::int64_t c = 0; c < dim; ++c) {
      store_element(k.data, k.dtype, row * dim + c, by * direction[static_cast<std::size_t>(c)]);
    }
  }
}

void fill_cu_seqlens(const TensorView& cu_seqlens, int seqlen) {
  auto* first = static_cast<std::int32_t*>(cu_seqlens.data);
  for (std::int64_t b = 0; b < cu_seqlens.shape[0]; ++b) first[b] = static_cast<std::int32_t>(b * seqlen);
}

}  // namespace

const char* name_of(InputKind kind) {
  switch (kind) {
    case InputKind::kNormal: return "normal";
    case InputKind::kLargeScores: return "large scores";
    case InputKind::kEqualScores: return "equal scores";
    case InputKind::kRisingScores: return "rising scores";
  }
  return "?";
}

void store_element(void* data, DType dtype, std::int64_t index, float value) {
  switch (dtype) {
    case DType::kF32: static_cast<float*>(data)[index] = value; break;
    case DType::kF16: static_cast<std::uint16_t*>(data)[index] = float_to_fp16(value); break;
    case DType::kBF16: static_cast<std::uint16_t*>(data)[index] = float_to_bf16(value); break;
    case DType::kE4M3: static_cast<std::uint8_t*>(data)[index] = float_to_e4m3(value); break;
    case DType::kI32: static_cast<std::int32_t*>(data)[index] = static_cast<std::int32_t>(value); break;
  }
}

CallData::CallData(const CallShape& shape, Layout layout)
    : shape_(shape), layout_(layout), tensors_(tensors_without_data(shape, layout)) {
  for (TensorView* tensor : {&tensors_.q, &tensors_.k, &tensors_.v, &tensors_.o, &tensors_.lse, &tensors_.cu_seqlens_q,
                             &tensors_.cu_seqlens_k}) {
    if (tensor->present()) allocate(*tensor);
  }
  if (layout == Layout::kTHD) {
    fill_cu_seqlens(tensors_.cu_seqlens_q, shape.seqlen_q);
    fill_cu_seqlens(tensors_.cu_seqlens_k, shape.seqlen_k);
  }
}

void CallData::allocate(TensorView& tensor) {
  const std::int64_t bytes = round_up(std::max<std::int64_t>(bytes_of(tensor), 1), kAlignment);
  memory_.emplace_back(std::aligned_alloc(kAlignment, static_cast<std::size_t>(bytes)));
  if (!memory_.back()) throw std::bad_alloc();
  tensor.data = memory_.back().get();
  std::memset(tensor.data, 0xff, static_cast<std::size_t>(bytes));  // NaN in every floating dtype
}

void CallData::fill(InputKind kind, std::uint64_t seed) {
  Random random(seed);
  const Random for_q(random.next()), for_k(random.next()), for_v(random.next());
  fill_normal(tensors_.q, for_q, kind == InputKind::kLargeScores ? 32.0f : 1.0f);
  fill_normal(tensors_.v, for_v, 1.0f);
  if (kind == InputKind::kEqualScores) {
    fill_keys(tensors_.k, layout_, shape_.seqlen_k, for_k, [](int) { return 1.0f; });
  } else if (kind == InputKind::kRisingScores) {
    const float last = static_cast<float>(std::max(shape_.seqlen_k, 1));
    fill_keys(tensors_.k, layout_, shape_.seqlen_k, for_k,
              [last](int j) { return 16.0f * static_cast<float>(j) / last - 8.0f; });
  } else {
    fill_normal(tensors_.k, for_k, 1.0f);
  }
}

std::int64_t CallData::input_bytes() const {
  return bytes_of(tensors_.q) + bytes_of(tensors_.k) + bytes_of(tensors_.v);
}

}  // namespace fovea::cli
