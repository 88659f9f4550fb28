// SPDX-License-Identifier: Apache-2.0
// fovea_fuzz_seeds DIRECTORY: writes the seeds of each fuzzer to DIRECTORY/<fuzzer>/. Exits with 0, 1 or 2.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/seeds.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: fovea_fuzz_seeds DIRECTORY\n", stderr);
    return 2;
  }
  using namespace fovea::fuzz;
  const std::pair<const char*, std::vector<std::string>> all[] = {
      {"npy", npy_seeds()}, {"safetensors", safetensors_seeds()}, {"describe", describe_seeds()}};
  for (const auto& [name, seeds] : all) {
    const std::filesystem::path directory = std::filesystem::path(argv[1]) / name;
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      std::ofstream file(directory / ("seed_" + std::to_string(i)), std::ios::binary);
      if (!(file << seeds[i])) {
        std::fprintf(stderr, "%s: cannot be written\n", directory.c_str());
        return 1;
      }
    }
  }
  return 0;
}
