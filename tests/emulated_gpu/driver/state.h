// SPDX-License-Identifier: Apache-2.0
// What this driver knows: devices, contexts, memory, streams. One per process.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/driver_api.h"
#include "tests/emulated_gpu/engine/launch.h"

namespace fovea::emulated {

using cuda::CUdevice;
using cuda::CUdeviceptr;
using cuda::CUresult;

inline constexpr CUresult kOk = 0, kInvalidValue = 1, kInvalidContext = 201, kInvalidHandle = 400, kNotFound = 500,
                          kIllegalAddress = 700, kOutOfResources = 701, kLaunchFailed = 719, kNotPermitted = 800,
                          kCaptureUnsupported = 900;

struct EmulatedDevice {
  int compute_capability;
  const char* board;  // whose numbers these are
  int shared_per_sm_kib, shared_per_block_kib, shared_reserved_bytes, max_threads_per_sm, max_blocks_per_sm, l2_mib;
  int clock_mhz, memory_clock_mhz, memory_bus_bits;
  int num_sms = 4;
  std::size_t memory_bytes = 0, used_bytes = 0;
  int retained = 0;  // primary contexts
};

struct Graph {
  std::vector<std::function<CUresult()>> steps;
};

struct Stream {
  CUdevice device = 0;
  unsigned long long id = 0;
  std::unique_ptr<Graph> capture;
  unsigned long long capture_id = 0;
};

struct Event {
  std::chrono::steady_clock::time_point when;
};

struct State {
  std::mutex mutex;
  std::vector<EmulatedDevice> devices;
  EngineOptions options;
  CUresult sticky = kOk;                                 // after a kernel failed, what every call gives
  std::vector<std::unique_ptr<Stream>> default_streams;  // per device
  unsigned long long next_id = 1;
};
State& state();

/// Devices, seeds and modes that the environment names (docs/decisions/0009). Throws nothing: false with a line on
/// stderr if a name is not known.
bool read_environment(State& s);

/// Of the context on top of the thread's stack; -1 without one.
CUdevice current_device();
cuda::CUcontext context_of(CUdevice device);

/// The stream's object, the current device's default stream for 0, 1 and 2; null if there is no such stream.
Stream* stream_of(cuda::CUstream stream);
/// Runs the step now, or adds it to the graph that the stream captures.
CUresult run_or_record(cuda::CUstream stream, std::function<CUresult()> step);

/// A kernel failed: the text goes to stderr, and every later call fails.
CUresult poison(const std::string& text);
/// Looks whether something was written beside allocations; the text names the first such place.
std::string find_stray_write();

/// Entry points by name, of all files.
struct EntryPoint {
  const char* name;
  void* function;
};
std::vector<EntryPoint> device_entry_points();
std::vector<EntryPoint> memory_entry_points();
std::vector<EntryPoint> stream_entry_points();
std::vector<EntryPoint> kernel_entry_points();

template <typename Function>
void* address(Function* function) {
  return reinterpret_cast<void*>(function);
}

}  // namespace fovea::emulated
