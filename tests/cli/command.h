// SPDX-License-Identifier: Apache-2.0
// Runs the built `fovea` as a user's shell would, with stdout and stderr apart and a small environment.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace fovea::test {

struct CommandResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

/// arguments and environment ("NAME=value NAME=value") are words of a POSIX shell line.
CommandResult run_fovea(const std::string& arguments, const std::string& environment = "");

/// The same on a pseudo-terminal of 80 columns, stdout and stderr together in out.
CommandResult run_fovea_on_terminal(const std::string& arguments, const std::string& environment = "");

/// Parses out as one JSON document; fails the test, naming the arguments, if it is none.
nlohmann::json json_of(const CommandResult& result);

inline bool has_escape_codes(const std::string& text) { return text.find('\x1b') != std::string::npos; }

}  // namespace fovea::test
