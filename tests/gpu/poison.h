// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fovea::testing {

/// Started with this flag, the test program poisons its own context and reports what the next call says.
inline constexpr const char* kPoisonFlag = "--poison";

/// Exit status 0 if attention_forward gave the error that it should.
int run_poisoned();

}  // namespace fovea::testing
