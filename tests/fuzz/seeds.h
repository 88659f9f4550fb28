// SPDX-License-Identifier: Apache-2.0
// Small sound inputs from which the fuzzers start and the mutations of fuzz_test.cpp are made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea::fuzz {

inline std::string little_endian_bytes(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

inline std::vector<std::string> npy_seeds() {
  std::vector<std::string> seeds;
  struct Kind {
    const char* descr;
    const char* shape;
    const char* order;
    std::size_t bytes;
  };
  constexpr Kind kKinds[] = {
      {"<f4", "(2, 3)", "False", 24}, {"<f2", "(2,)", "False", 4},   {"<V2", "(1, 2)", "True", 4},
      {"|V2", "()", "False", 2},      {"<i4", "(0, 7)", "False", 0}, {"<i8", "(2L,)", "False", 16},
      {">f4", "(1,)", "False", 4},    {"<f8", "(1,)", "False", 8},   {"|O", "(1,)", "False", 8},
      {"<f4", "(2, 2)", "True", 16},  {"<f4", "(-1,)", "False", 4}};
  for (const Kind& kind : kKinds) {
    for (const int major : {1, 3}) {
      std::string dict = "{'descr': '";
      dict += kind.descr;
      dict += "', 'fortran_order': ";
      dict += kind.order;
      dict += ", 'shape': ";
      dict += kind.shape;
      dict += ", }\n";
      std::string file = "\x93NUMPY";
      file += static_cast<char>(major);
      file += '\0';
      file += little_endian_bytes(dict.size(), major == 1 ? 2 : 4);
      file += dict;
      file.append(kind.bytes, '\x3f');
      seeds.push_back(file);
    }
  }
  return seeds;
}

inline std::vector<std::string> safetensors_seeds() {
  const struct {
    const char* json;
    std::size_t bytes;
  } kFiles[] = {
      {R"({"q":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})", 8},
      {R"({"__metadata__":{"format":"pt"},"k":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}})", 6},
      {R"({"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[0,5],"data_offsets":[8,8]}}  )",
       8},
      {R"({"w":{"dtype":"F4","shape":[3],"data_offsets":[0,2]},"\u00e9":{"dtype":"I32","shape":[1],"data_offsets":[2,6]}})",
       6},
      {"{}", 0},
      {R"({"q":{"dtype":"F32","shape":[-1,1.5],"data_offsets":[0,18446744073709551615]}})", 0},
      {R"({"q":{"dtype":null,"shape":[[1]],"data_offsets":{}},"q":true})", 0}};
  std::vector<std::string> seeds;
  for (const auto& file : kFiles) {
    std::string bytes = little_endian_bytes(std::string(file.json).size(), 8);
    bytes += file.json;
    bytes.append(file.bytes, '\x3f');
    seeds.push_back(bytes);
  }
  return seeds;
}

/// Any bytes are a call (describe_fuzz.h).
inline std::vector<std::string> describe_seeds() {
  std::vector<std::string> seeds;
  std::uint32_t state = 1;
  for (int i = 0; i < 64; ++i) {
    std::string bytes;
    for (int n = 0; n < 200; ++n) {
      state = state * 1664525u + 1013904223u;
      bytes += static_cast<char>(state >> 24);
    }
    seeds.push_back(bytes);
  }
  return seeds;
}

}  // namespace fovea::fuzz
