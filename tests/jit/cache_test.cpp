// SPDX-License-Identifier: Apache-2.0
#include "jit/cache.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "jit/cache_file.h"

namespace fovea::jit {
namespace {

namespace fs = std::filesystem;

std::string key_of(char digit) { return std::string(64, digit); }

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class CacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "fovea-cache-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root = name;
    folder = name + "/kernels";
  }
  void TearDown() override {
    std::error_code error;
    fs::permissions(root, fs::perms::owner_all, error);
    fs::remove_all(root, error);
  }
  std::string path_of(const std::string& key) const { return folder + "/" + key + ".kernel"; }

  std::string root;
  std::string folder;
};

TEST_F(CacheTest, gives_back_what_was_stored) {
  const DiskCache cache(folder);
  ASSERT_TRUE(cache.store(key_of('a'), {{"entry", "toy"}, {"registers", "40"}}, bytes_of("machine code")));
  const auto entry = cache.load(key_of('a'));
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->payload, bytes_of("machine code"));
  EXPECT_EQ(entry->metadata.at("registers"), "40");
  EXPECT_FALSE(cache.load(key_of('b')).has_value());
}

TEST_F(CacheTest, every_single_flipped_bit_and_every_cut_is_a_miss) {
  const std::vector<std::byte> whole = pack_entry(key_of('a'), {{"entry", "toy"}}, bytes_of("code"));
  CacheEntry entry;
  ASSERT_EQ(unpack_entry(whole, key_of('a'), &entry), "");
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::vector<std::byte> flipped = whole;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_NE(unpack_entry(flipped, key_of('a'), &entry), "") << "bit " << bit;
  }
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(unpack_entry(std::span(whole).first(n), key_of('a'), &entry), "") << "cut to " << n;
  }
  EXPECT_NE(unpack_entry(whole, key_of('b'), &entry), "") << "renamed to another key";
}

TEST_F(CacheTest, a_damaged_file_is_removed_and_a_miss) {
  const DiskCache cache(folder);
  ASSERT_TRUE(cache.store(key_of('a'), {}, bytes_of("code")));
  fs::resize_file(path_of(key_of('a')), 100);
  EXPECT_FALSE(cache.load(key_of('a')).has_value());
  EXPECT_FALSE(fs::exists(path_of(key_of('a'))));
}

TEST_F(CacheTest, a_read_only_layer_keeps_damaged_files_and_takes_none) {
  ASSERT_TRUE(DiskCache(folder).store(key_of('a'), {}, bytes_of("code")));
  fs::resize_file(path_of(key_of('a')), 100);
  const DiskCache layer(folder, true);
  EXPECT_FALSE(layer.load(key_of('a')).has_value());
  EXPECT_TRUE(fs::exists(path_of(key_of('a'))));
  EXPECT_FALSE(layer.store(key_of('b'), {}, bytes_of("code")));
}

TEST_F(CacheTest, a_folder_that_cannot_be_made_or_written_only_costs_the_entry) {
  EXPECT_FALSE(DiskCache("").store(key_of('a'), {}, bytes_of("code")));
  std::ofstream(root + "/file") << "not a folder";
  const DiskCache in_a_file(root + "/file/kernels");
  EXPECT_FALSE(in_a_file.store(key_of('a'), {}, bytes_of("code")));
  EXPECT_FALSE(in_a_file.load(key_of('a')).has_value());
  const DiskCache in_proc("/proc/fovea/kernels");
  EXPECT_FALSE(in_proc.store(key_of('a'), {}, bytes_of("code")));
}

TEST_F(CacheTest, a_full_disk_only_costs_the_entry) {
  // /dev/full fails every write with ENOSPC; a file limit of zero does the same to a real folder.
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit none = {16, 16};
    setrlimit(RLIMIT_FSIZE, &none);
    _exit(DiskCache(folder).store(key_of('a'), {}, bytes_of("code")) ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(DiskCache(folder).load(key_of('a')).has_value());
  EXPECT_TRUE(fs::is_empty(folder)) << "an unfinished file was left behind";
}

TEST_F(CacheTest, prune_removes_the_oldest_over_the_limit_and_the_damaged) {
  const DiskCache cache(folder);
  for (char digit : {'a', 'b', 'c', 'd'}) ASSERT_TRUE(cache.store(key_of(digit), {}, bytes_of("code")));
  const auto size = static_cast<std::int64_t>(fs::file_size(path_of(key_of('a'))));
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(path_of(key_of('a')), now - std::chrono::hours(48));
  fs::last_write_time(path_of(key_of('b')), now - std::chrono::hours(24));
  fs::resize_file(path_of(key_of('d')), 10);
  const PruneResult by_size = prune_cache(folder, {.max_bytes = 2 * size, .max_age_seconds = {}});
  EXPECT_EQ(by_size.removed, 2);  // a and the damaged d
  EXPECT_EQ(by_size.kept, 2);
  const PruneResult by_age = prune_cache(folder, {.max_bytes = {}, .max_age_seconds = 3600});
  EXPECT_EQ(by_age.removed, 1);
  EXPECT_TRUE(cache.load(key_of('c')).has_value());
}

TEST_F(CacheTest, list_tells_which_entries_are_damaged_and_clear_removes_all) {
  const DiskCache cache(folder);
  ASSERT_TRUE(cache.store(key_of('a'), {{"entry", "toy"}}, bytes_of("code")));
  ASSERT_TRUE(cache.store(key_of('b'), {}, bytes_of("code")));
  fs::resize_file(path_of(key_of('b')), 60);
  std::ofstream(folder + "/.unfinished-left-by-a-killed-writer") << "half";
  int whole = 0, damaged = 0;
  for (const CacheFile& file : list_cache(folder)) ++(file.fault.empty() ? whole : damaged);
  EXPECT_EQ(whole, 1);
  EXPECT_EQ(damaged, 1);
  clear_cache(folder);
  EXPECT_TRUE(fs::is_empty(folder));
}

}  // namespace
}  // namespace fovea::jit
