// SPDX-License-Identifier: Apache-2.0
// Outputs appear complete or not at all.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "cli/files/atomic_file.h"
#include "tests/cli/files.h"

namespace fovea::cli {
namespace {

using namespace fovea::test;

class AtomicFileKind : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(, AtomicFileKind, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "unnamed" : "hidden_temporary"; });

TEST_P(AtomicFileKind, nothing_is_there_before_commit_and_all_of_it_after) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("o.npy");
  AtomicFile file(path, GetParam());
  file.write("abc", 3);
  EXPECT_FALSE(std::filesystem::exists(path));
  file.write("def", 3);
  file.commit();
  EXPECT_EQ(file_bytes(path), "abcdef");
  EXPECT_EQ(directory.entries(), 1u);
}

TEST_P(AtomicFileKind, without_commit_an_existing_file_stays_and_no_temporary_does) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("o.npy");
  write_file(path, "old");
  {
    AtomicFile file(path, GetParam());
    file.write("new", 3);
  }
  EXPECT_EQ(file_bytes(path), "old");
  EXPECT_EQ(directory.entries(), 1u);
}

TEST_P(AtomicFileKind, replaces_an_existing_file_and_keeps_its_permissions) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("o.npy");
  write_file(path, "old and longer");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  AtomicFile file(path, GetParam());
  file.write("new", 3);
  file.commit();
  struct stat status = {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(file_bytes(path), "new");
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST(AtomicFile, a_killed_process_leaves_nothing) {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(directory.path("o.npy"));
    file.write("half", 4);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(directory.entries(), 0u) << "needs a file system with O_TMPFILE";
}

TEST(AtomicFile, follows_a_symbolic_link_to_its_target) {
  const TemporaryDirectory directory;
  write_file(directory.path("target"), "old");
  std::filesystem::create_symlink("target", directory.path("link"));
  AtomicFile file(directory.path("link"));
  file.write("new", 3);
  file.commit();
  EXPECT_EQ(file_bytes(directory.path("target")), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(directory.path("link")));
}

TEST(AtomicFile, a_full_device_is_an_error_that_names_it) {
  AtomicFile file("/dev/full");
  expect_contains(error_of([&] { file.write("abc", 3); }), {"/dev/full", "No space left"});
}

TEST(AtomicFile, a_pipe_is_written_to_directly) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { got = file_bytes(path); });
  {
    AtomicFile file(path);
    file.write("through", 7);
    file.commit();
  }
  reader.join();
  EXPECT_EQ(got, "through");
}

TEST(AtomicFile, bad_places_are_known_before_the_work_starts) {
  const TemporaryDirectory directory;
  const auto error = [](const std::string& path) { return error_of([&] { AtomicFile file(path); }); };
  expect_contains(error(directory.path("missing/o.npy")), {"missing/o.npy", "No such file or directory"});
  expect_contains(error(directory.path("")), {"is a directory"});
  expect_contains(error(directory.path("new/")), {"new/"});
  expect_contains(error(""), {"empty"});
  expect_contains(error(directory.path(std::string(300, 'x'))), {"File name too long"});
  std::filesystem::create_symlink("loop", directory.path("loop"));
  expect_contains(error(directory.path("loop")), {"loop"});
}

/// Runs work in a process without root's right to write anywhere; its exit status.
template <typename Work>
int without_privileges(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(99);
    ::_exit(work() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(AtomicFile, a_read_only_directory_is_known_before_the_work_starts) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory.path("locked"));
  ASSERT_EQ(::chmod(directory.path("").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(directory.path("locked").c_str(), 0555), 0);
  for (const bool unnamed : {true, false}) {
    const int status = without_privileges([&] {
      const std::string message = error_of([&] { AtomicFile file(directory.path("locked/o.npy"), unnamed); });
      return contains(message, "locked/o.npy") && contains(message, "Permission denied");
    });
    EXPECT_EQ(status, 0) << "unnamed " << unnamed;
  }
}

}  // namespace
}  // namespace fovea::cli
