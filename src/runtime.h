// SPDX-License-Identifier: Apache-2.0
// Inside of the runtime: the one owner of what lasts longer than a call.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/device_info.h"
#include "base/settings.h"
#include "fovea/runtime.h"
#include "plan/plan_cache.h"

namespace fovea {

struct Runtime::Impl {
  Settings settings;  // the environment, with RuntimeOptions put over it
  PlanCache attention_plans;
};

}  // namespace fovea
