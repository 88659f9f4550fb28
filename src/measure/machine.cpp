// SPDX-License-Identifier: Apache-2.0
#include "measure/machine.h"

#include <sys/utsname.h>

#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "fovea/version.h"

namespace fovea {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string compiler() {
#if defined(__clang__)
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return fmt::format("gcc {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
  return "unknown";
#endif
}

std::string system_name() {
  utsname name = {};
  if (::uname(&name) != 0) return "unknown";
  return fmt::format("{} {}", name.sysname, name.release);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&now, &parts);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
}

/// The commit that HEAD of a git directory names, directly or through a branch (a file of its own, or packed).
std::string commit_of_head(const fs::path& git_directory) {
  std::string head = first_line(git_directory / "HEAD");
  if (!head.starts_with("ref: ")) return head;
  const std::string reference = head.substr(5);
  fs::path common = git_directory;  // a linked worktree keeps branches in the main one
  if (const std::string line = first_line(git_directory / "commondir"); !line.empty()) common = git_directory / line;
  if (std::string commit = first_line(common / reference); !commit.empty()) return commit;
  std::ifstream packed(common / "packed-refs");
  for (std::string line; std::getline(packed, line);) {  // "<commit> <reference>"
    if (line.ends_with(" " + reference)) return line.substr(0, line.find(' '));
  }
  return "";
}

}  // namespace

std::string checked_out_commit(const std::string& directory) {
  std::error_code ignored;
  for (fs::path at = fs::absolute(directory, ignored); !at.empty(); at = at.parent_path()) {
    const fs::path git = at / ".git";
    if (fs::is_directory(git, ignored)) return commit_of_head(git);
    if (const std::string line = first_line(git); line.starts_with("gitdir: "))
      return commit_of_head(at / line.substr(8));
    if (at == at.root_path()) break;
  }
  return "";
}

Machine describe_machine(int num_threads, const std::string& isa) {
  Machine m;
  m.processor = cpu::detect_processor();
  m.num_threads = num_threads;
  m.isa = isa;
  m.system = system_name();
  m.compiler = compiler();
  m.version = FOVEA_VERSION_STRING;
  std::error_code ignored;
  const fs::path here = fs::current_path(ignored);
  for (fs::path at = here; !at.empty() && m.commit.empty(); at = at.parent_path()) {
    if (fs::exists(at / "include/fovea/version.h", ignored)) m.commit = checked_out_commit(at.string());
    if (at == at.root_path()) break;
  }
  m.date = utc_now();
  return m;
}

}  // namespace fovea
