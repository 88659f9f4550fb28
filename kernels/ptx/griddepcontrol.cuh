// SPDX-License-Identifier: Apache-2.0
// Launches that overlap the kernel before (sm_90); nothing happens in an ordinary launch.
// docs.nvidia.com/cuda/parallel-thread-execution, "griddepcontrol"
#pragma once

namespace fovea {

// Allows a kernel launched as programmatic to start.
__device__ inline void griddepcontrol_launch_dependents() { asm volatile("griddepcontrol.launch_dependents;"); }

// In that kernel: until the one before has ended and its writes are visible.
__device__ inline void griddepcontrol_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

}  // namespace fovea
