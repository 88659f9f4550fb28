// SPDX-License-Identifier: Apache-2.0
// Device memory: a plain buffer, and a workspace per stream that planned calls use without allocating.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "cuda/devices.h"

namespace fovea::cuda {

/// Memory of one GPU, freed with the object. Throws kCuda when there is not enough.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(const DeviceContext& device, std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

  void* data() const { return reinterpret_cast<void*>(address_); }
  CUdeviceptr address() const { return address_; }
  std::size_t size_bytes() const { return bytes_; }

 private:
  DeviceContext device_;
  CUdeviceptr address_ = 0;
  std::size_t bytes_ = 0;
};

/// Scratch memory of one stream, held while the kernels of one call are being enqueued: another thread that enqueues on
/// the same stream waits, so that its kernels do not come between ours. Stream order makes reuse safe on the device.
class WorkspaceLease {
 public:
  void* data() const { return reinterpret_cast<void*>(address_); }

 private:
  friend class WorkspacePool;
  WorkspaceLease(std::unique_lock<std::mutex> lock, CUdeviceptr address) : lock_(std::move(lock)), address_(address) {}
  std::unique_lock<std::mutex> lock_;
  CUdeviceptr address_;
};

/// One growing buffer per (context, stream). A call that fits makes no allocation. Growth is stream-ordered and does
/// not synchronise. Each capture of a stream into a graph has buffers of its own, since the graph may be replayed
/// beside later calls on that stream; they are kept until the pool goes.
class WorkspacePool {
 public:
  /// zeroed: memory is zero when first leased; who writes to it leaves what the next user expects.
  explicit WorkspacePool(bool zeroed = false) : zeroed_(zeroed) {}
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;

  WorkspaceLease acquire(const DeviceContext& device, Stream stream, std::size_t bytes);

 private:
  struct Entry {
    std::mutex mutex;
    DeviceContext device;
    CUcontext context = nullptr;
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
    bool has_pools = false;    // stream-ordered allocation
    bool is_captured = false;  // a graph holds the address
    std::vector<CUdeviceptr> retired;
  };
  void grow(Entry& entry, CUstream stream, std::size_t bytes);

  /// Context, id of the stream (0 in a capture), id of the capture (0 outside), and within a capture the stream's
  /// handle.
  using Key = std::tuple<CUcontext, unsigned long long, unsigned long long, CUstream>;
  const bool zeroed_;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Entry>> entries_;
};

}  // namespace fovea::cuda
