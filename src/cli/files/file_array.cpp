// SPDX-License-Identifier: Apache-2.0
#include "cli/files/file_array.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/math.h"
#include "contract/dtype.h"

namespace fovea::cli {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;
constexpr std::size_t kAlignment = 64;

std::optional<DType> floating_dtype(FileDType dtype) {
  switch (dtype) {
    case FileDType::kF32: return DType::kF32;
    case FileDType::kF16: return DType::kF16;
    case FileDType::kBF16: return DType::kBF16;
    case FileDType::kE4M3: return DType::kE4M3;
    default: return std::nullopt;
  }
}

TensorView view_of(const FileArray& array, DType dtype, void* data) {
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  view.ndim = static_cast<int>(array.shape.size());
  std::int64_t stride = 1;
  for (int d = view.ndim - 1; d >= 0; --d) {
    view.shape[d] = array.shape[static_cast<std::size_t>(d)];
    view.strides[d] = stride;
    stride *= std::max<std::int64_t>(view.shape[d], 1);
  }
  return view;
}

float element(const std::byte* data, std::int64_t i, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data + i * 4, 4);
    return value;
  }
  if (dtype == DType::kE4M3) return e4m3_to_float(std::to_integer<std::uint8_t>(data[i]));
  std::uint16_t bits;
  std::memcpy(&bits, data + i * 2, 2);
  return dtype == DType::kF16 ? fp16_to_float(bits) : bf16_to_float(bits);
}

void set_element(void* data, std::int64_t i, DType dtype, float value) {
  switch (dtype) {
    case DType::kF32: static_cast<float*>(data)[i] = value; break;
    case DType::kF16: static_cast<std::uint16_t*>(data)[i] = float_to_fp16(value); break;
    case DType::kBF16: static_cast<std::uint16_t*>(data)[i] = float_to_bf16(value); break;
    case DType::kE4M3: static_cast<std::uint8_t*>(data)[i] = float_to_e4m3(value); break;
    case DType::kI32: break;
  }
}

/// The element type that the file's bytes are read as.
DType stored_dtype(const FileArray& array, std::optional<DType> wanted) {
  if (array.dtype == FileDType::kRaw16) {
    check(wanted.has_value(), kBad, array.name,
          "{}: dtype '{}' is two bytes of no known type per element; say --dtype bf16 or --dtype fp16", array.name,
          array.dtype_name);
    check(*wanted != DType::kF32, kBad, array.name,
          "{}: dtype '{}' has two bytes per element and cannot be fp32; say --dtype bf16 or --dtype fp16", array.name,
          array.dtype_name);
    return *wanted;
  }
  const auto dtype = floating_dtype(array.dtype);
  check(dtype.has_value(), kBad, array.name,
        "{}: dtype is '{}', must be float32, float16 or bfloat16; convert it, as with x.astype(np.float32)", array.name,
        printable(array.dtype_name));
  return *dtype;
}

/// For i64 -> i32 and for misaligned data.
std::int64_t integer_element(const FileArray& array, std::int64_t i) {
  if (array.dtype == FileDType::kI32) {
    std::int32_t value;
    std::memcpy(&value, array.bytes.data() + i * 4, 4);
    return value;
  }
  std::int64_t value;
  std::memcpy(&value, array.bytes.data() + i * 8, 8);
  return value;
}

}  // namespace

HostTensor load_tensor(const FileArray& array, std::optional<DType> dtype) {
  check(array.shape.size() <= TensorView::kMaxDims, kBad, array.name,
        "{}: has {} dimensions, must have 3 (layout thd) or 4; reshape it", array.name, array.shape.size());
  const DType stored = stored_dtype(array, dtype);
  const DType wanted = dtype.value_or(stored);
  const auto address = reinterpret_cast<std::uintptr_t>(array.bytes.data());
  if (stored == wanted && address % static_cast<std::uintptr_t>(size_bytes(stored)) == 0) {
    void* const data =
        const_cast<std::byte*>(array.bytes.data());  // TensorView has no const form; inputs are only read
    return {view_of(array, stored, data), std::const_pointer_cast<MappedFile>(array.file), false};
  }
  HostTensor copy = allocate_tensor(array.name, wanted, array.shape);
  copy.is_copy = true;
  if (stored == wanted) {
    if (!array.bytes.empty()) std::memcpy(copy.view.data, array.bytes.data(), array.bytes.size());
    return copy;
  }
  const auto count = static_cast<std::int64_t>(array.bytes.size()) / size_bytes(stored);
  for (std::int64_t i = 0; i < count; ++i) {
    set_element(copy.view.data, i, wanted, element(array.bytes.data(), i, stored));
  }
  return copy;
}

HostTensor load_lengths(const FileArray& array) {
  check(array.dtype == FileDType::kI32 || array.dtype == FileDType::kI64, kBad, array.name,
        "{}: dtype is '{}', must be int32 or int64 (lengths); convert it, as with x.astype(np.int32)", array.name,
        printable(array.dtype_name));
  check(array.shape.size() == 1, kBad, array.name, "{}: has shape {}, must have one dimension (lengths); flatten it",
        array.name, shape_text(array.shape));
  HostTensor copy = allocate_tensor(array.name, DType::kI32, array.shape);
  copy.is_copy = true;
  for (std::int64_t i = 0; i < array.shape[0]; ++i) {
    const std::int64_t value = integer_element(array, i);
    check(value >= 0 && value <= std::numeric_limits<std::int32_t>::max(), kBad, array.name,
          "{}: element {} is {}, must be a length from 0 to 2147483647", array.name, i, value);
    static_cast<std::int32_t*>(copy.view.data)[i] = static_cast<std::int32_t>(value);
  }
  return copy;
}

HostTensor allocate_tensor(std::string_view name, DType dtype, std::span<const std::int64_t> shape) {
  check(shape.size() <= TensorView::kMaxDims, kBad, name, "{} would have {} dimensions, must have at most {}", name,
        shape.size(), static_cast<int>(TensorView::kMaxDims));
  FileArray array;
  array.shape.assign(shape.begin(), shape.end());
  const auto bytes = shape_bytes(shape, size_bytes(dtype));
  check(bytes && *bytes < std::numeric_limits<std::int64_t>::max() - 64, kBad, name,
        "{} would have shape {}, more than fits in memory", name, shape_text(shape));
  const auto size = static_cast<std::size_t>(round_up(std::max<std::int64_t>(*bytes, 1), kAlignment));
  std::shared_ptr<void> memory(std::aligned_alloc(kAlignment, size), std::free);
  check(memory != nullptr, ErrorCode::kInternal, name, "{} needs {} bytes, more than this machine has free", name,
        size);
  return {view_of(array, dtype, memory.get()), memory, false};
}

std::optional<std::int64_t> shape_bytes(std::span<const std::int64_t> shape, std::int64_t element_bytes) {
  std::int64_t product = element_bytes;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    empty |= extent == 0;
    if (extent < 0 || __builtin_mul_overflow(product, std::max<std::int64_t>(extent, 1), &product)) return std::nullopt;
  }
  return empty ? 0 : product;
}

std::int64_t tensor_bytes(const TensorView& view) {
  return shape_bytes({view.shape, static_cast<std::size_t>(view.ndim)}, size_bytes(view.dtype)).value_or(0);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

std::string printable(std::string_view text) {
  constexpr std::size_t kLimit = 60;
  std::string out;
  for (const char c : text.substr(0, kLimit)) {
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text.size() > kLimit ? out + "..." : out;
}

}  // namespace fovea::cli
