// SPDX-License-Identifier: Apache-2.0
// The GPU part of Runtime::info: driver, GPUs, compiler, compiled kernels.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "runtime.h"

namespace fovea {

std::string gpus_text(Runtime::Impl& runtime);
void add_gpus_json(nlohmann::ordered_json& info, Runtime::Impl& runtime);

}  // namespace fovea
