// SPDX-License-Identifier: Apache-2.0
#include "python/torch_state.h"

#include <dlfcn.h>

#include <cstdint>
#include <utility>

namespace nb = nanobind;

namespace fovea::python {
namespace {

/// A name of a module, or None; a reference that lives as long as the process.
nb::handle found(const char* module, const char* name) {
  return nb::object(nb::getattr(nb::module_::import_(module), name, nb::none())).release();
}

struct Names {
  nb::handle is_grad_enabled = found("torch", "is_grad_enabled");
  // Each is 0, False or None unless something wants to see every call.
  nb::handle states[3] = {found("torch._C", "_is_any_autocast_enabled"), found("torch._C", "_len_torch_dispatch_stack"),
                          found("torch._C._functorch", "peek_interpreter_stack")};
  nb::handle requires_grad = nb::str("requires_grad").release();
};
const Names& names() {
  static const auto* const found = new Names();
  return *found;
}

nb::object call(nb::handle function) {
  PyObject* result = PyObject_Vectorcall(function.ptr(), nullptr, 0, nullptr);
  if (!result) throw nb::python_error();
  return nb::steal(result);
}

bool is_true(nb::handle object) {
  const int truth = PyObject_IsTrue(object.ptr());
  if (truth < 0) throw nb::python_error();
  return truth != 0;
}

bool asked_is_idle() {
  for (const nb::handle state : names().states) {
    if (state.is_none()) continue;
    const nb::object value = call(state);
    if (!value.is_none() && is_true(value)) return false;
  }
  return true;
}

// The Python functions above take 0.3 us together. What they tell is written in the dispatcher's two sets of keys for
// this thread: autocast takes keys out of one, modes and transforms add to the other. So sets for which the functions
// said "idle" once need not be asked about again. A PyTorch without these symbols is asked every time.
struct KeySets {
  std::uint64_t included, excluded;
  friend bool operator==(const KeySets&, const KeySets&) = default;
};
struct Symbols {
  void* library = dlopen("libc10.so", RTLD_NOLOAD | RTLD_LAZY);
  bool (*is_grad_enabled)() = library ? reinterpret_cast<bool (*)()>(dlsym(library, "_ZN3c108GradMode10is_enabledEv"))
                                      : nullptr;
};
const Symbols& symbols() {
  static const auto* const found = new Symbols();
  return *found;
}

struct ThreadState {
  /// The thread's own copy: the address of a thread_local variable.
  const KeySets* now =
      symbols().library
          ? static_cast<const KeySets*>(dlsym(symbols().library, "_ZN3c104impl26raw_local_dispatch_key_setE"))
          : nullptr;
  KeySets idle = {};
  bool has_idle = false;
};

bool is_idle() {
  thread_local ThreadState state;
  if (state.has_idle && *state.now == state.idle) [[likely]]
    return true;
  const bool idle = asked_is_idle();
  if (idle && state.now) state.idle = *state.now, state.has_idle = true;
  return idle;
}

bool is_grad_enabled() {
  const auto function = symbols().is_grad_enabled;
  return function ? function() : is_true(call(names().is_grad_enabled));
}

}  // namespace

bool needs_torch(std::initializer_list<nb::handle> tensors) {
  if (!is_idle()) return true;
  if (!is_grad_enabled()) return false;
  for (const nb::handle tensor : tensors) {
    if (tensor.is_none()) continue;
    PyObject* value = PyObject_GetAttr(tensor.ptr(), names().requires_grad.ptr());
    if (!value) throw nb::python_error();
    if (is_true(nb::steal(value))) return true;
  }
  return false;
}

void throw_torch_error() {
  nb::python_error error;  // the one that is set
  nb::module_::import_("fovea._torch").attr("refuse_forked")();
  throw nb::python_error(std::move(error));
}

}  // namespace fovea::python
