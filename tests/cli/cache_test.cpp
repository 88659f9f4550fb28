// SPDX-License-Identifier: Apache-2.0
// fovea cache as a user calls it; the entries themselves are tests/jit's matter.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/cli/command.h"

namespace fovea::test {
namespace {

namespace fs = std::filesystem;

/// A cache folder that goes with the test.
class CacheFolder {
 public:
  CacheFolder() {
    char name[] = "/tmp/fovea_cli_cache_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~CacheFolder() { fs::remove_all(path_); }
  CommandResult run(const std::string& arguments) const {
    return run_fovea("cache " + arguments, "FOVEA_CACHE_DIR=" + path_);
  }
  void add_damaged_entry() const {
    fs::create_directories(path_ + "/kernels");
    std::ofstream(path_ + "/kernels/" + std::string(64, 'a') + ".kernel") << "not a kernel";
  }

 private:
  std::string path_;
};

TEST(Cache, an_absent_folder_is_an_empty_cache) {
  const CacheFolder folder;
  for (const char* verb : {"ls", "verify", "prune", "clear"}) {
    const CommandResult result = folder.run(std::string(verb) + " --json");
    EXPECT_EQ(result.exit_code, 0) << verb << result.err;
    json_of(result);
  }
}

TEST(Cache, a_damaged_entry_is_listed_fails_verify_and_is_pruned) {
  const CacheFolder folder;
  folder.add_damaged_entry();
  EXPECT_EQ(json_of(folder.run("ls --json")).size(), 1u);
  EXPECT_EQ(folder.run("verify").exit_code, 1);
  EXPECT_EQ(json_of(folder.run("prune --json"))["removed"], 1);
  EXPECT_EQ(folder.run("verify").exit_code, 0);
}

TEST(Cache, clear_leaves_nothing) {
  const CacheFolder folder;
  folder.add_damaged_entry();
  EXPECT_EQ(json_of(folder.run("clear --json"))["removed"], 1);
  EXPECT_EQ(json_of(folder.run("ls --json")).size(), 0u);
}

TEST(Cache, limits_that_are_no_quantities_are_refused) {
  const CacheFolder folder;
  for (const char* limit : {"--max-megabytes many", "--max-megabytes -3", "--max-age-days yesterday"}) {
    EXPECT_EQ(folder.run(std::string("prune ") + limit).exit_code, 2) << limit;
  }
}

TEST(Prebuild, an_unknown_architecture_ends_with_2_and_is_named) {
  const CommandResult result = run_fovea("prebuild --arch sm_12345 --output /tmp/fovea_no_such_folder");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("sm_12345"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace fovea::test
