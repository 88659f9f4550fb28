// SPDX-License-Identifier: Apache-2.0
// What the fuzzers do, for a moment and with the same mutations on every run, so that each build tries it.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/describe_fuzz.h"
#include "tests/fuzz/files_fuzz.h"
#include "tests/fuzz/seeds.h"

namespace fovea::fuzz {
namespace {

constexpr int kRounds = 20000;

/// A few bytes changed, inserted, taken out or doubled. Digits and brackets are likelier than other bytes.
std::string mutated(std::string bytes, std::mt19937& random) {
  constexpr std::string_view kWords[] = {"9",    "-",
                                         "]",    "[",
                                         ",",    "(",
                                         ")",    "\"",
                                         "'",    "{",
                                         "}",    ":",
                                         "\\",   "0",
                                         "null", "18446744073709551615",
                                         "\xff", std::string_view("\0", 1),
                                         ">f4",  "True"};
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random()) % n; };
  for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
    const std::size_t at = below(bytes.size() + 1);
    const std::string_view word = kWords[below(std::size(kWords))];
    switch (below(5)) {
      case 0: bytes.insert(at, word); break;
      case 1: bytes.replace(at, std::min(word.size(), bytes.size() - at), word); break;
      case 2: bytes.erase(at, 1 + below(3)); break;
      case 3: bytes.insert(at, bytes.substr(at, below(40))); break;
      case 4:
        if (at < bytes.size()) bytes[at] = static_cast<char>(random());
        break;
    }
  }
  return bytes;
}

template <typename Target>
void try_mutations(const std::vector<std::string>& seeds, Target target) {
  std::mt19937 random(20240229);
  const auto run = [&](const std::string& bytes) { target(std::as_bytes(std::span(bytes.data(), bytes.size()))); };
  for (const std::string& seed : seeds) run(seed);
  for (int i = 0; i < kRounds; ++i) run(mutated(seeds[random() % seeds.size()], random));
}

TEST(Fuzz, npy_reader_accepts_or_refuses_any_bytes) { try_mutations(npy_seeds(), read_npy_bytes); }

TEST(Fuzz, safetensors_reader_accepts_or_refuses_any_bytes) {
  try_mutations(safetensors_seeds(), read_safetensors_bytes);
}

TEST(Fuzz, describe_accepts_or_refuses_any_call) { try_mutations(describe_seeds(), describe_bytes); }

TEST(Fuzz, an_unspoilt_call_is_accepted) {
  for (const std::string& seed : describe_seeds()) {
    Bytes bytes(std::as_bytes(std::span(seed.data(), seed.size())));
    const RandomCall call = sound_call(bytes);
    // Addresses at random may overlap; without data nothing does.
    AttentionTensors tensors = call.tensors;
    for (TensorView* t : {&tensors.q, &tensors.k, &tensors.v, &tensors.o, &tensors.lse}) t->data = nullptr;
    EXPECT_NO_THROW(describe_attention(tensors, call.options, /*require_data=*/false));
  }
}

}  // namespace
}  // namespace fovea::fuzz
