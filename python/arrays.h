// SPDX-License-Identifier: Apache-2.0
// Python arrays as views: NumPy through the buffer protocol, PyTorch through its DLPack exchange table, anything else
// through a View that Python made. No import of a framework happens here; its objects bring it with them.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/tensor.h"
#include "python/dlpack.h"

namespace fovea::python {

/// kOther is for Python to deal with: subclasses, frameworks without a fast path.
enum class Framework { kOther, kNumPy, kTorch, kView };

/// An array that the fast paths do not know, described by Python. owner keeps the memory alive.
struct View {
  TensorView tensor;
  nanobind::object owner;
};
View make_view(std::uintptr_t data, const std::string& dtype, const std::string& device, int device_index,
               const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
               nanobind::object owner);

/// What is known of an object's type, looked up once per type.
struct ArrayType {
  Framework framework = Framework::kOther;
  const DLPackExchangeAPI* exchange = nullptr;  // kTorch
};
const ArrayType& array_type(nanobind::handle object);

/// The views of one call; keeps buffers locked until it goes. At most kMaxArrays.
class ArrayReader {
 public:
  ArrayReader() = default;
  ~ArrayReader();
  ArrayReader(const ArrayReader&) = delete;
  ArrayReader& operator=(const ArrayReader&) = delete;

  /// Raises InvalidType for an object that is no array or has a dtype that Fovea does not know, InvalidArgument for one
  /// that cannot be read (or written, if writable). The object must live as long as the view.
  TensorView read(const char* name, nanobind::handle object, bool writable = false);

 private:
  static constexpr int kMaxArrays = 12;
  TensorView read_numpy(const char* name, nanobind::handle array, bool writable);
  Py_buffer buffers_[kMaxArrays];
  int num_buffers_ = 0;
};

/// The framework's current stream for the device of a view; null on a CPU.
void* current_stream(const ArrayType& type, const Device& device);

/// A new array of like's framework and device. view describes like.
nanobind::object empty_array(Framework framework, nanobind::handle like, const TensorView& view, DType dtype,
                             const std::int64_t* shape, int ndim);
/// One with like's shape, dtype and order of strides.
nanobind::object empty_like(Framework framework, nanobind::handle like, const TensorView& view);

}  // namespace fovea::python
