// SPDX-License-Identifier: Apache-2.0
// A line on stderr when something that nobody asked for takes longer than two seconds. Silent at FOVEA_LOG=error.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace fovea::jit {

class ProgressLine {
 public:
  explicit ProgressLine(std::string what);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace fovea::jit
