// SPDX-License-Identifier: Apache-2.0
// The disk cache under ill-treatment: 16 processes read and write the same few keys, files are cut and bits flipped
// under them, writers are killed at any moment. Entries may get lost; a wrong payload must never come back.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/log.h"
#include "jit/cache.h"

namespace fovea::jit {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kProcesses = 16;
constexpr unsigned kKeys = 6;
constexpr auto kDuration = std::chrono::milliseconds(2500);

/// Shared by all processes.
struct Counts {
  std::atomic<long> hits, misses, stores, wrong, damaged;
};

std::string key_of(unsigned index) { return std::string(63, 'a') + static_cast<char>('0' + index); }

/// Bytes that follow from the key and a number that stands in their first eight: a payload can be judged by itself.
std::vector<std::byte> payload_of(unsigned key, std::uint64_t number) {
  std::mt19937_64 random(number * kKeys + key);
  std::vector<std::byte> bytes(sizeof number + random() % 60000);
  std::memcpy(bytes.data(), &number, sizeof number);
  for (std::size_t i = sizeof number; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(random());
  return bytes;
}

bool is_right(unsigned key, const std::vector<std::byte>& bytes) {
  std::uint64_t number = 0;
  if (bytes.size() < sizeof number) return false;
  std::memcpy(&number, bytes.data(), sizeof number);
  return bytes == payload_of(key, number);
}

/// Cuts the file of an entry or flips one bit of it, in place, while others may be reading it.
void damage(const std::string& path, std::mt19937_64& random) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error || size == 0) return;
  if (random() % 2 == 0) {
    fs::resize_file(path, random() % size, error);
    return;
  }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto place = static_cast<std::streamoff>(random() % size);
  file.seekg(place);
  const int byte = file.get();
  if (byte < 0) return;
  file.seekp(place);
  file.put(static_cast<char>(byte ^ (1 << (random() % 8))));
}

[[noreturn]] void ill_treat(const std::string& folder, Counts& counts, unsigned seed, Clock::time_point end) {
  std::mt19937_64 random(seed);
  const DiskCache cache(folder);
  while (Clock::now() < end) {
    const unsigned key = random() % kKeys;
    const unsigned act = random() % 10;
    if (act < 6) {
      if (const auto entry = cache.load(key_of(key))) {
        ++(is_right(key, entry->payload) ? counts.hits : counts.wrong);
      } else {
        ++counts.misses;
      }
    } else if (act < 8) {
      counts.stores += cache.store(key_of(key), {{"entry", "toy"}}, payload_of(key, random()));
    } else if (act < 9) {
      damage(folder + "/" + key_of(key) + ".kernel", random);
      ++counts.damaged;
    } else if (random() % 50 == 0) {
      prune_cache(folder, {.max_bytes = 200000, .max_age_seconds = {}});
    }
  }
  _exit(0);
}

pid_t start(const std::string& folder, Counts& counts, unsigned seed, Clock::time_point end) {
  const pid_t child = fork();
  if (child == 0) ill_treat(folder, counts, seed, end);
  return child;
}

TEST(CacheTorture, no_wrong_payload_is_ever_returned) {
  std::string root = (fs::temp_directory_path() / "fovea-torture-XXXXXX").string();
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  const std::string folder = root + "/kernels";
  void* shared = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto& counts = *new (shared) Counts{};
  const LogLevel level = log_level();
  set_log_level(LogLevel::kError);  // every damaged file is worth a line to a user, not here

  const auto end = Clock::now() + kDuration;
  unsigned seed = 1;
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) children.push_back(start(folder, counts, seed++, end));
  int killed = 0;
  std::mt19937_64 random(7);
  while (Clock::now() < end) {
    usleep(static_cast<useconds_t>(random() % 20000));
    pid_t& victim = children[random() % children.size()];
    if (kill(victim, SIGKILL) == 0) ++killed;
    waitpid(victim, nullptr, 0);
    victim = start(folder, counts, seed++, end);
  }
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  set_log_level(level);

  std::printf("%ld hits, %ld misses, %ld stores, %ld files damaged, %d processes killed\n", counts.hits.load(),
              counts.misses.load(), counts.stores.load(), counts.damaged.load(), killed);
  EXPECT_EQ(counts.wrong.load(), 0);
  EXPECT_GT(counts.hits.load(), 0);
  EXPECT_GT(counts.stores.load(), 0);
  EXPECT_GT(killed, 10);

  // What the killed writers left behind goes with the rest.
  clear_cache(folder);
  EXPECT_TRUE(fs::is_empty(folder));
  const DiskCache cache(folder);
  EXPECT_TRUE(cache.store(key_of(0), {}, payload_of(0, 1)));
  EXPECT_TRUE(cache.load(key_of(0)).has_value()) << "the folder is as good as new";
  munmap(shared, sizeof(Counts));
  fs::remove_all(root);
}

}  // namespace
}  // namespace fovea::jit
