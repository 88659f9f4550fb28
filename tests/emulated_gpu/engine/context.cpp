// SPDX-License-Identifier: Apache-2.0
#include "tests/emulated_gpu/engine/context.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <vector>

namespace fovea::emulated {

#ifdef __x86_64__

// Saves what the ABI says a callee keeps, and returns on the other stack.
extern "C" void fovea_emulated_switch(void** from, void* to);
asm(R"(
.text
.globl fovea_emulated_switch
.hidden fovea_emulated_switch
.type fovea_emulated_switch, @function
fovea_emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fovea_emulated_switch, .-fovea_emulated_switch
)");

void switch_context(Context& from, Context& to) { fovea_emulated_switch(&from.stack_pointer, to.stack_pointer); }

void start_context(Context& context, char* stack, std::size_t bytes, void (*entry)()) {
  auto* top = reinterpret_cast<std::uintptr_t*>(stack + bytes) - 9;  // entry finds the stack as after a call
  *top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  context.stack_pointer = top;
}

#else

void switch_context(Context& from, Context& to) { swapcontext(&from.native, &to.native); }

void start_context(Context& context, char* stack, std::size_t bytes, void (*entry)()) {
  getcontext(&context.native);
  context.native.uc_stack.ss_sp = stack;
  context.native.uc_stack.ss_size = bytes;
  context.native.uc_link = nullptr;
  makecontext(&context.native, entry, 0);
}

#endif

char* stack_number(std::size_t number) {
  static std::vector<char*> stacks;
  constexpr std::size_t kGuard = 4096;
  while (stacks.size() <= number) {
    void* memory =
        mmap(nullptr, kStackBytes + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, kGuard, PROT_NONE);
    stacks.push_back(static_cast<char*>(memory) + kGuard);
  }
  return stacks[number];
}

}  // namespace fovea::emulated
