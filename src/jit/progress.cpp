// SPDX-License-Identifier: Apache-2.0
#include "jit/progress.h"

#include <chrono>

#include "base/log.h"

namespace fovea::jit {

ProgressLine::ProgressLine(std::string what) {
  thread_ = std::thread([this, what = std::move(what)] {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, std::chrono::seconds(2), [this] { return done_; })) return;
    log(LogLevel::kWarn, "{} … (once: the result is kept in the cache)", what);
  });
}

ProgressLine::~ProgressLine() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

}  // namespace fovea::jit
