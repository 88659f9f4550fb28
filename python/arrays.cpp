// SPDX-License-Identifier: Apache-2.0
#include "python/arrays.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "python/errors.h"
#include "python/torch_state.h"

namespace nb = nanobind;

namespace fovea::python {
namespace {

/// A reference that lives as long as the process: interpreters may end before static objects do.
nb::handle kept(nb::object object) { return object.release(); }

nb::handle numpy(const char* name) { return kept(nb::module_::import_("numpy").attr(name)); }

struct NumPyNames {
  nb::handle empty = numpy("empty"), empty_like = numpy("empty_like"), float32 = kept(nb::str("float32")),
             dtype = kept(nb::str("dtype"));
};
const NumPyNames& numpy_names() {
  static const auto* const names = new NumPyNames();
  return *names;
}

struct TorchNames {
  nb::handle empty_like = kept(nb::module_::import_("torch").attr("empty_like"));
  nb::handle float32 = kept(nb::module_::import_("torch").attr("float32"));
  nb::handle new_empty = kept(nb::str("new_empty")), keywords = kept(nb::make_tuple("dtype"));
};
const TorchNames& torch_names() {
  static const auto* const names = new TorchNames();
  return *names;
}

/// What PyTorch's compiled programs allocate by: half a microsecond where torch.empty_like takes one and new_empty two.
/// Takes (sizes, strides, dtype); the GPU is the current one, so it serves where there is one alone. None in a PyTorch
/// without them.
struct TorchAllocators {
  nb::handle cpu = allocator("_empty_strided_cpu"), cuda = allocator("_empty_strided_cuda");
  nb::handle dtypes[3] = {kept(nb::module_::import_("torch").attr("float32")),
                          kept(nb::module_::import_("torch").attr("float16")),
                          kept(nb::module_::import_("torch").attr("bfloat16"))};

  static nb::handle allocator(const char* name) {
    try {
      return kept(nb::getattr(nb::module_::import_("torch._C._dynamo.guards"), name, nb::none()));
    } catch (nb::python_error&) {
      return kept(nb::none());
    }
  }
  static bool has_one_gpu() {
    const nb::object count = nb::getattr(nb::module_::import_("torch._C"), "_cuda_getDeviceCount", nb::none());
    return !count.is_none() && nb::cast<int>(count()) == 1;
  }
};

const TorchAllocators& torch_allocators() {
  static const auto* const found = new TorchAllocators();
  return *found;
}

nb::handle torch_allocator(const Device& device) {
  if (device.kind == DeviceKind::kCPU) return torch_allocators().cpu;
  static const bool has_one_gpu = TorchAllocators::has_one_gpu();
  return has_one_gpu ? torch_allocators().cuda : nb::handle(Py_None);
}

nb::handle torch_dtype(DType dtype) {
  const int index = static_cast<int>(dtype);  // kF32, kF16, kBF16
  return index < 3 ? torch_allocators().dtypes[index] : nb::handle(Py_None);
}

nb::object attribute(nb::handle object, nb::handle name) {
  PyObject* value = PyObject_GetAttr(object.ptr(), name.ptr());
  if (!value) throw nb::python_error();
  return nb::steal(value);
}

ArrayType inspect(nb::handle type) {
  if (type.is(nb::type<View>())) return {Framework::kView, nullptr};
  const std::string module = text_of(type.attr("__module__")), name = text_of(type.attr("__name__"));
  if (module == "numpy" && name == "ndarray") return {Framework::kNumPy, nullptr};
  const bool is_tensor =
      (module == "torch" && name == "Tensor") || (module == "torch.nn.parameter" && name == "Parameter");
  const nb::object capsule = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
  if (!is_tensor || capsule.is_none()) return {};
  const auto* exchange =
      static_cast<const DLPackExchangeAPI*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (!exchange) PyErr_Clear();
  if (!exchange || exchange->header.major != 1 || !exchange->dltensor_from_py_object_no_sync) return {};
  return {Framework::kTorch, exchange};
}

std::string dtype_text(nb::handle array) { return text_of(array.attr("dtype")); }

[[noreturn]] void refuse_dtype(const char* name, const std::string& dtype) {
  raise_type(name, std::string(name) + " has dtype " + dtype +
                       "; arrays are float32, float16 or bfloat16 (of matrix products also float8_e4m3fn), lengths and "
                       "offsets int32; convert it (float32 is computed with float32 accuracy)");
}

bool find_dtype(char code, std::int64_t bytes, DType& dtype) {
  switch (code) {
    case 'f': dtype = DType::kF32; return bytes == 4;
    case 'e': dtype = DType::kF16; return bytes == 2;
    case 'i':
    case 'l': dtype = DType::kI32; return bytes == 4;
    default: return false;
  }
}

bool find_dtype(DLDataType given, DType& dtype) {
  if (given.lanes != 1) return false;
  if (given.code == kDLFloat && given.bits == 32) return dtype = DType::kF32, true;
  if (given.code == kDLFloat && given.bits == 16) return dtype = DType::kF16, true;
  if (given.code == kDLBfloat && given.bits == 16) return dtype = DType::kBF16, true;
  if (given.code == kDLFloat8E4M3fn && given.bits == 8) return dtype = DType::kE4M3, true;
  if (given.code == kDLInt && given.bits == 32) return dtype = DType::kI32, true;
  return false;
}

void check_ndim(const char* name, int ndim) {
  if (ndim >= 1 && ndim <= TensorView::kMaxDims) return;
  raise_value(name, std::string(name) + " has " + std::to_string(ndim) + " dimensions, must have 1 to " +
                        std::to_string(TensorView::kMaxDims) + "; reshape it");
}

Device device_of(const char* name, DLDevice given) {
  switch (given.device_type) {
    case kDLCPU:
    case kDLCUDAHost: return {};
    case kDLCUDA:
    case kDLCUDAManaged: return {DeviceKind::kCUDA, given.device_id};
    default:
      raise("Unsupported", name,
            std::string(name) + " is on a device of DLPack type " + std::to_string(given.device_type) +
                "; Fovea has kernels for CPUs and NVIDIA GPUs");
  }
}

/// After PyTorch's table failed: a device that DLPack does not know, a tensor that is no strided memory.
[[noreturn]] void refuse_unreadable(const char* name, nb::handle tensor) {
  const nb::python_error cause;
  const std::string device = text_of(tensor.attr("device")), why = cause.what();
  if (!device.starts_with("cpu") && !device.starts_with("cuda")) {
    raise("Unsupported", name,
          std::string(name) + " is on " + device + "; Fovea has kernels for cpu and cuda, move it there");
  }
  raise_type(name, std::string(name) + " cannot be read: " + why.substr(0, why.find('\n')));
}

TensorView read_torch(const char* name, nb::handle tensor, const ArrayType& type) {
  DLTensor t;
  if (type.exchange->dltensor_from_py_object_no_sync(tensor.ptr(), &t) != 0) {
    refuse_unreadable(name, tensor);
  }
  TensorView view;
  if (!find_dtype(t.dtype, view.dtype)) refuse_dtype(name, dtype_text(tensor));
  view.device = device_of(name, t.device);
  if (t.ndim == 0) {  // one number
    view.ndim = 1, view.shape[0] = view.strides[0] = 1;
    view.data = static_cast<char*>(t.data) + t.byte_offset;
    return view;
  }
  check_ndim(name, t.ndim);
  view.ndim = t.ndim;
  std::int64_t stride = 1;
  for (int d = t.ndim - 1; d >= 0; --d) {
    view.shape[d] = t.shape[d];
    view.strides[d] = t.strides ? t.strides[d] : stride;
    stride *= t.shape[d];
  }
  view.data = t.data ? static_cast<char*>(t.data) + t.byte_offset : nullptr;
  return view;
}

}  // namespace

View make_view(std::uintptr_t data, const std::string& dtype, const std::string& device, int device_index,
               const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides, nb::object owner) {
  View view;
  static constexpr const char* kNames[] = {"float32", "float16", "bfloat16", "int32", "float8_e4m3fn"};
  constexpr int kCount = 5;
  int index = 0;
  while (index < kCount && dtype != kNames[index]) ++index;
  if (index == kCount) refuse_dtype("View", dtype);
  if (shape.size() != strides.size()) raise_value("strides", "strides must have one entry per dimension");
  if (device != "cpu" && device != "cuda") raise_value("device", "device is " + device + ", must be cpu or cuda");
  check_ndim("View", static_cast<int>(shape.size()));
  view.tensor.data = reinterpret_cast<void*>(data);
  view.tensor.dtype = static_cast<DType>(index);
  view.tensor.device = {device == "cpu" ? DeviceKind::kCPU : DeviceKind::kCUDA, device_index};
  view.tensor.ndim = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), view.tensor.shape);
  std::copy(strides.begin(), strides.end(), view.tensor.strides);
  view.owner = std::move(owner);
  return view;
}

const ArrayType& array_type(nb::handle object) {
  // Under the GIL. Types are kept alive, so an address never comes to mean another type.
  static auto* const known = new std::unordered_map<PyObject*, ArrayType>();
  static PyObject* last = nullptr;  // the arrays of one call are mostly of one type
  static const ArrayType* last_found = nullptr;
  const nb::handle type = object.type();
  if (type.ptr() == last) [[likely]]
    return *last_found;
  auto it = known->find(type.ptr());
  if (it == known->end()) {
    const ArrayType found = inspect(type);
    type.inc_ref();
    it = known->emplace(type.ptr(), found).first;
  }
  last = type.ptr();
  last_found = &it->second;
  return *last_found;
}

ArrayReader::~ArrayReader() {
  for (int i = 0; i < num_buffers_; ++i) PyBuffer_Release(&buffers_[i]);
}

TensorView ArrayReader::read(const char* name, nb::handle object, bool writable) {
  const ArrayType& type = array_type(object);
  switch (type.framework) {
    case Framework::kNumPy: return read_numpy(name, object, writable);
    case Framework::kTorch: return read_torch(name, object, type);
    case Framework::kView: return nb::cast<View&>(object).tensor;
    case Framework::kOther: break;
  }
  raise_type(name, std::string(name) + " is a " + type_text(object) +
                       "; pass a NumPy array, a PyTorch tensor, or another array with __dlpack__");
}

TensorView ArrayReader::read_numpy(const char* name, nb::handle array, bool writable) {
  Py_buffer& buffer = buffers_[num_buffers_];
  const int flags = writable ? PyBUF_RECORDS : PyBUF_RECORDS_RO;
  bool is_bfloat16 = false, is_e4m3 = false;
  if (PyObject_GetBuffer(array.ptr(), &buffer, flags) != 0) {
    PyErr_Clear();
    const std::string dtype = dtype_text(array);
    is_bfloat16 = dtype == "bfloat16";  // of ml_dtypes: the buffer protocol has no letter for it
    is_e4m3 = dtype == "float8_e4m3fn";
    const char* const bits = is_e4m3 ? "uint8" : "uint16";
    if (!(is_bfloat16 || is_e4m3) || PyObject_GetBuffer(array.attr("view")(bits).ptr(), &buffer, flags) != 0) {
      PyErr_Clear();
      if (dtype != "float32" && dtype != "float16" && !is_bfloat16 && !is_e4m3) refuse_dtype(name, dtype);
      raise_value(name, std::string(name) + " cannot be " + (writable ? "written" : "read") +
                            "; is it a read-only array? Make a copy");
    }
  }
  ++num_buffers_;
  TensorView view;
  view.dtype = is_e4m3 ? DType::kE4M3 : DType::kBF16;
  // Native order is written as no prefix, '=' or '@'.
  const char* format = buffer.format ? buffer.format : "B";
  if (*format == '=' || *format == '@') ++format;
  if (!is_bfloat16 && !is_e4m3 && (std::strlen(format) != 1 || !find_dtype(*format, buffer.itemsize, view.dtype))) {
    refuse_dtype(name, dtype_text(array));
  }
  view.data = buffer.buf;
  if (buffer.ndim == 0) {  // one number
    view.ndim = 1, view.shape[0] = view.strides[0] = 1;
    return view;
  }
  check_ndim(name, buffer.ndim);
  view.ndim = buffer.ndim;
  for (int d = 0; d < view.ndim; ++d) {
    view.shape[d] = buffer.shape[d];
    view.strides[d] = buffer.strides[d] / buffer.itemsize;
    if (buffer.strides[d] % buffer.itemsize != 0 && buffer.shape[d] > 1) {
      raise_value(name, std::string(name) + " has a stride of " + std::to_string(buffer.strides[d]) +
                            " bytes, no multiple of its elements; make a contiguous copy");
    }
  }
  return view;
}

void* current_stream(const ArrayType& type, const Device& device) {
  if (device.kind == DeviceKind::kCPU || !type.exchange) return nullptr;
  void* stream = nullptr;
  if (type.exchange->current_work_stream(kDLCUDA, device.index, &stream) != 0) throw_torch_error();
  return stream;
}

namespace {

nb::object tuple_of(const std::int64_t* numbers, int count) {
  nb::object tuple = nb::steal(PyTuple_New(count));
  for (int d = 0; d < count; ++d) PyTuple_SetItem(tuple.ptr(), d, PyLong_FromLongLong(numbers[d]));
  return tuple;
}

/// A tensor of these strides on the device of like; null where the short way there is closed.
nb::object torch_strided(const TensorView& like, DType dtype, const std::int64_t* shape, const std::int64_t* strides,
                         int ndim) {
  const nb::handle allocator = torch_allocator(like.device);
  if (allocator.is_none()) return {};
  const nb::object sizes = tuple_of(shape, ndim), steps = tuple_of(strides, ndim);
  const nb::handle type = torch_dtype(dtype);
  if (type.is_none()) return {};
  PyObject* arguments[] = {sizes.ptr(), steps.ptr(), type.ptr()};
  PyObject* made = PyObject_Vectorcall(allocator.ptr(), arguments, 3, nullptr);
  if (!made) PyErr_Clear();  // the long way tells what is wrong
  return nb::steal(made);
}

/// Whether the elements fill memory without gaps or overlap, in whatever order of dimensions.
bool is_dense(const TensorView& t) {
  std::int64_t expected = 1;
  bool seen[TensorView::kMaxDims] = {};
  for (int step = 0; step < t.ndim; ++step) {
    int next = -1;
    for (int d = 0; d < t.ndim; ++d) {
      if (t.shape[d] == 0) return true;
      if (!seen[d] && (t.shape[d] == 1 || t.strides[d] == expected)) next = d;
    }
    if (next < 0) return false;
    seen[next] = true;
    expected *= t.shape[next];
  }
  return true;
}

}  // namespace

nb::object empty_array(Framework framework, nb::handle like, const TensorView& view, DType dtype,
                       const std::int64_t* shape, int ndim) {
  const bool is_f32 = dtype == DType::kF32;
  if (framework == Framework::kTorch) {
    std::int64_t strides[TensorView::kMaxDims], stride = 1;
    for (int d = ndim - 1; d >= 0; stride *= std::max<std::int64_t>(shape[d], 1), --d) strides[d] = stride;
    if (nb::object made = torch_strided(view, dtype, shape, strides, ndim); made.is_valid()) return made;
    const nb::object sizes = tuple_of(shape, ndim);
    const TorchNames& names = torch_names();
    PyObject* arguments[] = {like.ptr(), sizes.ptr(), names.float32.ptr()};
    PyObject* made =
        PyObject_VectorcallMethod(names.new_empty.ptr(), arguments, 2, is_f32 ? names.keywords.ptr() : nullptr);
    if (!made) throw_torch_error();
    return nb::steal(made);
  }
  const NumPyNames& names = numpy_names();
  const nb::object sizes = tuple_of(shape, ndim);
  const nb::object like_dtype = is_f32 ? nb::borrow(names.float32) : attribute(like, names.dtype);
  PyObject* arguments[] = {sizes.ptr(), like_dtype.ptr()};
  PyObject* made = PyObject_Vectorcall(names.empty.ptr(), arguments, 2, nullptr);
  if (!made) throw nb::python_error();
  return nb::steal(made);
}

nb::object empty_like(Framework framework, nb::handle like, const TensorView& view) {
  if (framework == Framework::kTorch && is_dense(view)) {
    nb::object made = torch_strided(view, view.dtype, view.shape, view.strides, view.ndim);
    if (made.is_valid()) return made;
  }
  const nb::handle function = framework == Framework::kTorch ? torch_names().empty_like : numpy_names().empty_like;
  PyObject* arguments[] = {like.ptr()};
  PyObject* made = PyObject_Vectorcall(function.ptr(), arguments, 1, nullptr);
  if (!made && framework == Framework::kTorch) throw_torch_error();
  if (!made) throw nb::python_error();
  return nb::steal(made);
}

}  // namespace fovea::python
