// SPDX-License-Identifier: Apache-2.0
// Texts about a launch that went wrong.
#pragma once

#include <string>

namespace fovea::emulated {

/// Where the calling thread is: " in KERNEL, block 3, thread 5".
std::string describe_place();
/// What every warp waits for.
std::string describe_deadlock();
/// A signal inside of a kernel.
std::string describe_fault(int signal, const void* address);

}  // namespace fovea::emulated
