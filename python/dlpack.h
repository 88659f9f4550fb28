// SPDX-License-Identifier: Apache-2.0
// The part of the DLPack 1.x ABI that is read here: a tensor, and the table of C functions that a framework may hang on
// its tensor type (__dlpack_c_exchange_api__). Names and order are those of the specification,
// dmlc.github.io/dlpack/latest/c_api.html; the binary layout is what counts.
#pragma once

#include <cstdint>

namespace fovea::python {

enum : std::int32_t { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3, kDLCUDAManaged = 13 };
enum : std::uint8_t { kDLInt = 0, kDLFloat = 2, kDLBfloat = 4, kDLFloat8E4M3fn = 10 };

struct DLDevice {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null means row-major
  std::uint64_t byte_offset;
};

struct DLManagedTensorVersioned;

struct DLPackExchangeAPI {
  struct Header {
    std::uint32_t major, minor;
    Header* previous;
  } header;
  int (*managed_tensor_allocator)(DLTensor*, DLManagedTensorVersioned**, void*,
                                  void (*)(void*, const char*, const char*));
  int (*managed_tensor_from_py_object_no_sync)(void*, DLManagedTensorVersioned**);
  int (*managed_tensor_to_py_object_no_sync)(DLManagedTensorVersioned*, void**);
  int (*dltensor_from_py_object_no_sync)(void*, DLTensor*);  // a view: valid while the object lives; may be null
  int (*current_work_stream)(std::int32_t device_type, std::int32_t device_id, void** stream);
};

}  // namespace fovea::python
