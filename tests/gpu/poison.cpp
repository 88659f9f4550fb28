// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/poison.h"

#include <cstdio>
#include <string>

#include "fovea/error.h"
#include "tests/gpu/gpu.h"

namespace fovea::testing {

int run_poisoned() {
  CaseData data(attention_cases(DType::kF16).front());
  DeviceCase on_gpu(data);
  const auto kernel = gpu().kernel("contract/host_device.h", "write_to_nowhere", "int* p", "*p = config;", 32);
  cuda::launch(*kernel, {.blocks = 1, .threads = 32}, Stream{}, static_cast<int*>(nullptr));
  const cuda::ScopedContext scope(gpu().device());
  gpu().api().cuStreamSynchronize(nullptr);
  try {
    attention_forward(gpu().runtime, on_gpu.tensors(), data.options);
    gpu().synchronize();
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    return error.code() == ErrorCode::kCuda && std::string(error.what()).find("poisoned") != std::string::npos ? 0 : 2;
  }
  std::printf("the call succeeded in a poisoned context\n");
  return 3;
}

}  // namespace fovea::testing
