// SPDX-License-Identifier: Apache-2.0
// Stacks that take turns on one host thread: what a CUDA thread is here.
#pragma once

#include <cstddef>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace fovea::emulated {

struct Context {
#ifdef __x86_64__
  void* stack_pointer = nullptr;
#else
  ucontext_t native;
#endif
};

/// Leaves `from`, which goes on when somebody switches to it again.
void switch_context(Context& from, Context& to);

/// A context that begins with entry() on this stack; entry must not return.
void start_context(Context& context, char* stack, std::size_t bytes, void (*entry)());

/// A stack with an unmapped page below it, from a store of used ones; never unmapped.
char* stack_number(std::size_t number);
inline constexpr std::size_t kStackBytes = std::size_t{256} << 10;

}  // namespace fovea::emulated
