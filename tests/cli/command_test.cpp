// SPDX-License-Identifier: Apache-2.0
// How tests run the command; see command.h. The name ends in _test so that the room's glob finds it.
#include "tests/cli/command.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace fovea::test {
namespace {

std::string shell_line(const std::string& arguments, const std::string& environment) {
  return "env -i PATH=\"$PATH\" HOME=/nonexistent " + environment + " " FOVEA_BINARY_DIR "/fovea " + arguments;
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

CommandResult run_fovea(const std::string& arguments, const std::string& environment) {
  char name[] = "/tmp/fovea_cli_test_XXXXXX";
  const int descriptor = mkstemp(name);
  CommandResult result;
  const std::string line = shell_line(arguments, environment) + " 2>" + name + " </dev/null";
  if (std::FILE* pipe = popen(line.c_str(), "r")) {
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.out.append(buffer, n);
    result.exit_code = exit_code_of(pclose(pipe));
  }
  std::ostringstream err;
  err << std::ifstream(name).rdbuf();
  result.err = err.str();
  close(descriptor);
  unlink(name);
  return result;
}

CommandResult run_fovea_on_terminal(const std::string& arguments, const std::string& environment) {
  CommandResult result;
  winsize size = {24, 80, 0, 0};
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    const std::string line = shell_line(arguments, environment);
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  char buffer[4096];
  for (ssize_t n; (n = read(terminal, buffer, sizeof buffer)) > 0;)
    result.out.append(buffer, static_cast<std::size_t>(n));
  int status = 0;
  waitpid(child, &status, 0);
  close(terminal);
  result.exit_code = exit_code_of(status);
  return result;
}

nlohmann::json json_of(const CommandResult& result) {
  nlohmann::json document = nlohmann::json::parse(result.out, nullptr, false);
  EXPECT_FALSE(document.is_discarded()) << "not JSON: " << result.out << result.err;
  return document.is_discarded() ? nlohmann::json::object() : document;
}

}  // namespace fovea::test
