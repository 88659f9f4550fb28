// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy files: format 1.0, 2.0 and 3.0, little-endian, C order. Source: numpy.org/doc/stable/reference/
// generated/numpy.lib.format.html. bfloat16 is what ml_dtypes writes, '<V2'; NumPy itself reads that as raw pairs of
// bytes: x.view(ml_dtypes.bfloat16) names them again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "cli/files/file_array.h"
#include "fovea/types.h"

namespace fovea::cli {

/// The file is read in place. Throws kInvalidArgument naming the file for anything but a sound .npy file: truncated or
/// with trailing bytes, big-endian, float64, object or structured dtype, Fortran order, a header that lies.
FileArray read_npy(const std::string& path);

/// The same from memory that the caller keeps.
FileArray parse_npy(std::span<const std::byte> file, const std::string& name);

/// Everything in front of the elements, format 1.0, padded to a multiple of 64 bytes.
std::string npy_header(DType dtype, std::span<const std::int64_t> shape);

}  // namespace fovea::cli
