// SPDX-License-Identifier: Apache-2.0
// An array as a file holds it, and its way into a TensorView. npy.h and safetensors.h make FileArrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/files/mapped_file.h"
#include "fovea/tensor.h"

namespace fovea::cli {

/// kRaw16: two bytes per element whose meaning the file does not tell (.npy '|V2'). kOther: any type that Fovea does
/// not read; FileArray::dtype_name tells which.
enum class FileDType : unsigned char { kF32, kF16, kBF16, kI32, kI64, kE4M3, kRaw16, kOther };

/// Row-major elements inside a file. bytes holds exactly the elements of the shape, in this machine's byte order.
struct FileArray {
  std::string name;  // for messages: "q.npy", or "call.safetensors: q"
  FileDType dtype = FileDType::kOther;
  std::string dtype_name;  // as the file spells it: "<f4", "BF16"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const MappedFile> file;  // keeps bytes alive; null when the caller does
};

/// A contiguous tensor and what keeps its memory alive: the mapped file, or a copy.
struct HostTensor {
  TensorView view;
  std::shared_ptr<void> owner;
  bool is_copy = false;  // converted to another dtype, or moved to an aligned address
};

/// The array as an attention input. With dtype, values are converted (rounded to nearest even) and raw 16-bit elements
/// are taken as that type; without, fp32, fp16 and bf16 stay as they are, in place where their address is aligned.
/// Throws kInvalidArgument naming the array.
HostTensor load_tensor(const FileArray& array, std::optional<DType> dtype);

/// A vector of int32 or int64 as int32 (lengths, offsets). Throws kInvalidArgument for other types and large values.
HostTensor load_lengths(const FileArray& array);

/// Uninitialised memory for a contiguous tensor, on a 64-byte boundary. name is for messages.
/// Throws kInvalidArgument when the size overflows and kInternal when there is no memory.
HostTensor allocate_tensor(std::string_view name, DType dtype, std::span<const std::int64_t> shape);

/// Bytes of a shape, or nothing when some extent is negative or the product of its non-zero extents does not fit in 63
/// bits (so that no stride can overflow either).
std::optional<std::int64_t> shape_bytes(std::span<const std::int64_t> shape, std::int64_t element_bytes);

/// Bytes of a contiguous tensor.
std::int64_t tensor_bytes(const TensorView& view);

/// "(2, 3)"
std::string shape_text(std::span<const std::int64_t> shape);

/// Text from a file made fit for a message: at most 60 characters, control characters and bytes beyond ASCII as \xNN.
std::string printable(std::string_view text);

}  // namespace fovea::cli
