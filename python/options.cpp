// SPDX-License-Identifier: Apache-2.0
#include "python/options.h"

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "python/errors.h"

namespace nb = nanobind;

namespace fovea::python {
namespace {

std::string shown(nb::handle value) { return text_of(nb::repr(value)); }

[[noreturn]] void refuse(const char* name, nb::handle value, const char* wanted) {
  raise_type(name, std::string(name) + " is " + shown(value) + ", must be " + wanted);
}

std::string_view text(const char* name, nb::handle value, const char* wanted) {
  Py_ssize_t size = 0;
  const char* characters = PyUnicode_Check(value.ptr()) ? PyUnicode_AsUTF8AndSize(value.ptr(), &size) : nullptr;
  if (!characters) refuse(name, value, wanted);
  return {characters, static_cast<std::size_t>(size)};
}

/// The place of the text among the words.
template <typename Enum, std::size_t count>
Enum word(const char* name, nb::handle value, const char* const (&words)[count], const char* wanted) {
  const std::string_view given = text(name, value, wanted);
  for (std::size_t i = 0; i < count; ++i) {
    if (given == words[i]) return static_cast<Enum>(i);
  }
  raise_value(name, std::string(name) + " is \"" + std::string(given) + "\", must be " + wanted);
}

/// A number as double; numbers of NumPy and zero-dimensional arrays count.
double number(const char* name, nb::handle value) {
  const double result = PyFloat_AsDouble(value.ptr());
  if (result == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    refuse(name, value, "a number");
  }
  return result;
}

int integer(const char* name, nb::handle value) {
  PyObject* index = PyNumber_Index(value.ptr());
  if (!index) {
    PyErr_Clear();
    refuse(name, value, "an integer");
  }
  int overflow = 0;
  const long long result = PyLong_AsLongLongAndOverflow(index, &overflow);
  Py_DECREF(index);
  if (overflow != 0 || result > std::numeric_limits<int>::max() || result < std::numeric_limits<int>::min()) {
    raise_value(name, std::string(name) + " is " + shown(value) + ", must fit in 32 bits");
  }
  return static_cast<int>(result);
}

void read_window(nb::handle window, AttentionOptions& options) {
  constexpr const char* kWanted = "a pair (left, right) of numbers of keys, None for an open side";
  if (!PyTuple_Check(window.ptr()) && !PyList_Check(window.ptr())) refuse("window", window, kWanted);
  if (nb::len(window) != 2) refuse("window", window, kWanted);
  const nb::object left = window[0], right = window[1];
  if (!left.is_none()) options.window_left = integer("window_left", left);
  if (!right.is_none()) options.window_right = integer("window_right", right);
}

void read_config(nb::handle config, AttentionOptions& options) {
  if (!nb::hasattr(config, "block_q") || !nb::hasattr(config, "kernel")) {
    refuse("config", config, "a fovea.AttentionConfig");
  }
  options.tile.block_q = integer("config.block_q", config.attr("block_q"));
  options.tile.block_k = integer("config.block_k", config.attr("block_k"));
  options.tile.stages = integer("config.stages", config.attr("stages"));
  options.tile.warps = integer("config.warps", config.attr("warps"));
  options.kernel = std::string(text("config.kernel", config.attr("kernel"), "the name of a kernel, or \"\""));
}

void read_config(nb::handle config, MatmulOptions& options) {
  if (!nb::hasattr(config, "block_m") || !nb::hasattr(config, "kernel")) {
    refuse("config", config, "a fovea.MatmulConfig");
  }
  const auto size = [&](const char* name) {
    return integer((std::string("config.") + name).c_str(), config.attr(name));
  };
  MatmulTile& tile = options.tile;
  tile.block_m = size("block_m");
  tile.block_n = size("block_n");
  tile.block_k = size("block_k");
  tile.stages = size("stages");
  tile.warps = size("warps");
  tile.cluster_m = size("cluster_m");
  tile.cluster_n = size("cluster_n");
  tile.num_splits = size("num_splits");
  const nb::object persistent = config.attr("persistent");
  if (!persistent.is_none()) tile.persistent = boolean("config.persistent", persistent);
  options.kernel = std::string(text("config.kernel", config.attr("kernel"), "the name of a kernel, or \"\""));
}

constexpr const char* kMaths[] = {"exact", "fast"};
constexpr const char* kMathsWanted = "\"exact\" or \"fast\"";

}  // namespace

bool boolean(const char* name, nb::handle value) {
  if (value.is(Py_True)) return true;
  if (value.is(Py_False)) return false;
  // A number here is a positional slip, such as a scale given for causal.
  if (type_text(value).find("bool") == std::string::npos) refuse(name, value, "True or False");
  return PyObject_IsTrue(value.ptr()) == 1;
}

AttentionOptions attention_options(const CallArguments& call) {
  static constexpr const char* kLayouts[] = {"bshd", "bhsd", "thd"};
  static constexpr const char* kAlignments[] = {"bottom_right", "top_left"};
  AttentionOptions options;
  options.layout = word<Layout>("layout", call.layout, kLayouts, "\"bshd\", \"bhsd\" or \"thd\"");
  options.causal = boolean("causal", call.causal);
  if (!call.window.is_none()) read_window(call.window, options);
  options.alignment = word<MaskAlignment>("alignment", call.alignment, kAlignments, "\"bottom_right\" or \"top_left\"");
  if (!call.softmax_scale.is_none())
    options.softmax_scale = static_cast<float>(number("softmax_scale", call.softmax_scale));
  options.softcap = static_cast<float>(number("softcap", call.softcap));
  if (!call.max_seqlen_q.is_none()) options.max_seqlen_q = integer("max_seqlen_q", call.max_seqlen_q);
  if (!call.max_seqlen_k.is_none()) options.max_seqlen_k = integer("max_seqlen_k", call.max_seqlen_k);
  options.math = word<Math>("math", call.math, kMaths, kMathsWanted);
  if (!call.config.is_none()) read_config(call.config, options);
  return options;
}

MatmulOptions matmul_options(const MatmulArguments& call) {
  static constexpr const char* kActivations[] = {"none", "relu", "gelu", "silu"};
  MatmulOptions options;
  options.alpha = static_cast<float>(number("alpha", call.alpha));
  if (!call.beta.is_none()) options.beta = static_cast<float>(number("beta", call.beta));
  if (call.beta.is_none() && !call.c.is_none()) options.beta = 1.0f;
  if (!call.activation.is_none()) {
    options.activation =
        word<Activation>("activation", call.activation, kActivations, "None, \"none\", \"relu\", \"gelu\" or \"silu\"");
  }
  options.math = word<Math>("math", call.math, kMaths, kMathsWanted);
  if (!call.config.is_none()) read_config(call.config, options);
  return options;
}

}  // namespace fovea::python
