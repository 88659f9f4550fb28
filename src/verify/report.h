// SPDX-License-Identifier: Apache-2.0
// A comparison in words.
#pragma once

#include <string>

#include "verify/compare.h"
#include "verify/tolerance.h"

namespace fovea {

/// Errors, ratios to the plain method and limits; where it fails also the worst place, in which Place::head is called
/// `head_name` (attention has heads; a matrix product has none, and an empty name leaves it out).
std::string comparison_text(const char* name, const Comparison& comparison, const Tolerance& limit,
                            const char* head_name);

}  // namespace fovea
