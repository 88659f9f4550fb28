// SPDX-License-Identifier: Apache-2.0
// What the tests on a GPU share: one runtime, the GPU, copies, and the tensors of a case on the device.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cuda/launch.h"
#include "cuda/memory.h"
#include "fovea/attention.h"
#include "runtime.h"
#include "tests/support/cases.h"

namespace fovea::testing {

/// GPU 0 and a runtime, made on first use, for all tests of the process.
struct Gpu {
  Runtime runtime;
  cuda::DeviceContext& device() { return runtime.impl().devices.context(0); }
  const cuda::DriverApi& api() { return runtime.impl().devices.driver().api; }
  const DeviceInfo& info() { return runtime.impl().devices.info(0); }
  /// True on tests/emulated_gpu, which knows results and nothing of time, registers or occupancy.
  bool is_emulated() { return info().name.starts_with("emulated "); }
  /// Throws kCuda naming the call.
  void check(cuda::CUresult result, const char* call) { runtime.impl().devices.driver().check(result, call, "a test"); }
  void synchronize(Stream stream = {});
  /// Compiles and loads a kernel written in a test: the file's text, the entry in it and its parameters by value.
  std::shared_ptr<const cuda::Kernel> kernel(const std::string& header, const std::string& entry,
                                             const std::string& parameters, const std::string& body, int threads);
};
Gpu& gpu();

/// Device memory with the bytes of host memory.
class DeviceCopy {
 public:
  explicit DeviceCopy(std::span<const std::byte> bytes);
  template <typename T>
  explicit DeviceCopy(const std::vector<T>& values) : DeviceCopy(std::as_bytes(std::span(values))) {}
  void put(std::span<const std::byte> bytes) const;
  void fetch(std::span<std::byte> bytes) const;
  template <typename T>
  std::vector<T> values() const {
    std::vector<T> all(buffer_.size_bytes() / sizeof(T));
    fetch(std::as_writable_bytes(std::span(all)));
    return all;
  }
  void* data() const { return buffer_.data(); }

 private:
  cuda::DeviceBuffer buffer_;
};

/// A stream of the caller, not blocked by the default stream.
class OwnStream {
 public:
  OwnStream() {
    const cuda::ScopedContext scope(gpu().device());
    gpu().check(gpu().api().cuStreamCreate(&stream_, cuda::CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  }
  ~OwnStream() {
    const cuda::ScopedContext scope(gpu().device());
    gpu().api().cuStreamDestroy(stream_);
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  operator Stream() const { return {stream_}; }
  cuda::CUstream native() const { return stream_; }

 private:
  cuda::CUstream stream_ = nullptr;
};

/// Captures into a graph what `calls` enqueues, runs it so many times, and waits.
void run_captured(const OwnStream& stream, int times, const std::function<void()>& calls);

/// The tensors of a case, guards included, on GPU 0.
class DeviceCase {
 public:
  explicit DeviceCase(CaseData& data);
  AttentionTensors tensors() const { return tensors_; }
  /// Brings every byte back into the host tensors.
  void fetch();

 private:
  void move(TensorView& view);

  CaseData& data_;
  AttentionTensors tensors_;
  std::vector<HostTensor*> hosts_;
  std::vector<DeviceCopy> copies_;
};

}  // namespace fovea::testing
