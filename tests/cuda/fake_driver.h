// SPDX-License-Identifier: Apache-2.0
// A stand-in for libcuda.so.1 that records calls, so that host code about GPUs is tested where there is none. It is a
// shared library of its own (fake_driver.cpp): what the tests load goes the way of the real one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cuda/driver_api.h"

namespace fovea::cuda {

struct FakeDriver {
  // What it answers.
  int version = 13000;
  CUresult init_result = CUDA_SUCCESS;
  int num_devices = 2;
  std::map<int, int> attributes;  // CUdevice_attribute -> value
  std::map<CUstream, CUcontext> stream_contexts;
  std::map<std::string, CUresult> results;  // of a call by name; else CUDA_SUCCESS
  int static_shared_bytes = 0;
  bool capturing = false;
  std::string hidden;  // an entry point that this driver lacks

  // What was done to it.
  std::vector<CUcontext> context_stack;
  std::vector<std::string> calls;
  CUlaunchConfig last_launch = {};
  std::vector<CUlaunchAttributeID> last_attributes;
  CUfunction last_function = nullptr;
  CUcontext last_launch_context = nullptr;
  CUdeviceptr next_address = 0x10000;

  int count(const std::string& name) const {
    int n = 0;
    for (const std::string& call : calls) n += call == name;
    return n;
  }
};

}  // namespace fovea::cuda
