// SPDX-License-Identifier: Apache-2.0
// The safetensors reader and writer; the lies that a header can tell.
#include "cli/files/safetensors.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "cli/files/atomic_file.h"
#include "tests/cli/files.h"

namespace fovea::cli {
namespace {

using namespace fovea::test;

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

std::string object(std::initializer_list<std::string> entries) {
  return fmt::format("{{{}}}", fmt::join(entries, ","));
}

std::string parse_error(const std::string& json, std::size_t data_bytes) {
  const std::string file = safetensors_file(json, std::string(data_bytes, '\0'));
  return error_of([&] { parse_safetensors(as_bytes(file), "x.safetensors"); });
}

TEST(Safetensors, finds_tensors_by_name_whatever_the_order_of_the_header) {
  const float values[] = {1, 2, 3};
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  const std::string file =
      safetensors_file(object({entry("v", "F32", "[1]", "[8,12]"), R"("__metadata__":{"format":"pt"})",
                               entry("q", "F32", "[2,1]", "[0,8]")}) +
                           "   ",
                       data);
  const SafetensorsFile parsed = parse_safetensors(as_bytes(file), "x.safetensors");
  const FileArray v = find_tensor(parsed, "v");
  EXPECT_EQ(v.name, "x.safetensors: v");
  EXPECT_EQ(v.dtype, FileDType::kF32);
  float value;
  std::memcpy(&value, v.bytes.data(), 4);
  EXPECT_EQ(value, 3.0f);
  EXPECT_EQ(find_tensor(parsed, "q").shape, (std::vector<std::int64_t>{2, 1}));
  expect_contains(error_of([&] { find_tensor(parsed, "k"); }), {"x.safetensors", "no tensor 'k'", "q, v"});
}

TEST(Safetensors, empty_tensors_scalars_and_an_empty_file_are_legal) {
  const std::string file = safetensors_file(
      object({entry("a", "BF16", "[0,7]", "[0,0]"), entry("b", "I64", "[]", "[0,8]")}), std::string(8, '\0'));
  const SafetensorsFile parsed = parse_safetensors(as_bytes(file), "x");
  EXPECT_EQ(find_tensor(parsed, "a").bytes.size(), 0u);
  EXPECT_EQ(find_tensor(parsed, "b").shape.size(), 0u);
  const std::string nothing = safetensors_file("{}", "");
  EXPECT_TRUE(parse_safetensors(as_bytes(nothing), "x").entries.empty());
}

TEST(Safetensors, a_tensor_of_a_type_that_is_not_read_does_no_harm_until_it_is_asked_for) {
  const std::string file = safetensors_file(
      object({entry("w", "F4", "[3]", "[0,2]"), entry("x", "F64", "[1]", "[2,10]")}), std::string(10, '\0'));
  const SafetensorsFile parsed = parse_safetensors(as_bytes(file), "x");
  expect_contains(error_of([&] { load_tensor(find_tensor(parsed, "x"), std::nullopt); }), {"x: x", "'F64'", "float32"});
  expect_contains(error_of([&] { load_tensor(find_tensor(parsed, "w"), std::nullopt); }), {"'F4'"});
}

TEST(Safetensors, refuses_offsets_that_lie) {
  const auto with = [](std::string_view shape, std::string_view offsets) {
    return parse_error(object({entry("q", "F32", shape, offsets)}), 8);
  };
  expect_contains(with("[2]", "[0,12]"), {"x.safetensors", "'q'", "ends at byte 12", "there are 8"});
  expect_contains(with("[2]", "[8,0]"), {"must ascend"});
  expect_contains(with("[1]", "[4,8]"), {"gap of 4 bytes"});
  expect_contains(with("[1]", "[0,4]"), {"4 bytes after its last tensor"});
  expect_contains(with("[3]", "[0,8]"), {"needs 12 bytes", "span 8"});
  expect_contains(with("[4611686018427387904,4]", "[0,8]"), {"more bytes than any memory"});
  expect_contains(with("[2]", "[0,18446744073709551615]"), {"ends at byte 18446744073709551615"});
  expect_contains(with("[2]", "[0,8,8]"), {"3 numbers"});
  expect_contains(with("[2]", "[0]"), {"1 numbers"});
  expect_contains(with("[-2]", "[0,8]"), {"-2", "negative"});
  expect_contains(with("[2.0]", "[0,8]"), {"a fraction"});
  expect_contains(with("[18446744073709551615]", "[0,8]"), {"beyond 2^63"});
  expect_contains(with("[[2]]", "[0,8]"), {"a list where it does not belong"});
  expect_contains(parse_error(object({entry("a", "F32", "[2]", "[0,8]"), entry("b", "F32", "[1]", "[4,8]")}), 8),
                  {"'b'", "inside the one before it"});
}

TEST(Safetensors, refuses_headers_that_are_not_what_the_format_says) {
  expect_contains(parse_error(object({entry("a", "F32", "[0]", "[0,0]"), entry("a", "F32", "[0]", "[0,0]")}), 0),
                  {"'a'", "twice"});
  expect_contains(parse_error("{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0), {"'a' lacks data_offsets"});
  expect_contains(parse_error("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0), {"twice"});
  expect_contains(parse_error("{\"a\":{\"colour\":\"red\"}}", 0), {"'colour'", "unknown"});
  expect_contains(parse_error("{\"a\":5}", 0), {"a number"});
  expect_contains(parse_error("{\"a\":null}", 0), {"null"});
  expect_contains(parse_error("{\"__metadata__\":{\"a\":1}}", 0), {"a number"});
  expect_contains(parse_error("{\"__metadata__\":{},\"__metadata__\":{}}", 0), {"twice"});
  expect_contains(parse_error("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0), {"twice"});
  expect_contains(parse_error("{} trailing", 0), {"not valid JSON"});
  expect_contains(parse_error("{\"a", 0), {"not valid JSON"});
  expect_contains(parse_error("{\"\xff\":{}}", 0), {"not valid JSON"});
  expect_contains(parse_error("[]", 0), {"does not start with '{'"});
  expect_contains(parse_error("", 0), {"does not start with '{'"});
  expect_contains(parse_error("{\"a\":" + std::string(1 << 20, '{'), 0), {"header"});
  expect_contains(parse_error("{\"a\":{\"shape\":" + std::string(1 << 20, '['), 0), {"a list"});
  expect_contains(parse_error("{\"\\u001b[31m\":5}", 0), {"\\x1b[31m"});
}

TEST(Safetensors, refuses_header_lengths_that_lie_and_every_truncation) {
  const auto error = [](const std::string& file) {
    return error_of([&] { parse_safetensors(as_bytes(file), "x.safetensors"); });
  };
  expect_contains(error(little_endian(~std::uint64_t{0}, 8) + "{}"), {"claims 18446744073709551615", "at most"});
  expect_contains(error(little_endian(100'000'001, 8) + "{}"), {"claims 100000001"});
  expect_contains(error(little_endian(3, 8) + "{}"), {"truncated", "claims 3 bytes", "has 2"});
  const std::string whole = safetensors_file(object({entry("q", "F32", "[2]", "[0,8]")}), std::string(8, '\0'));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(contains(error(whole.substr(0, size)), "x.safetensors")) << "cut to " << size << " bytes";
  }
}

TEST(Safetensors, what_is_written_is_read_back_and_starts_aligned) {
  const TemporaryDirectory directory;
  float o[6] = {1, 2, 3, 4, 5, 6};
  std::uint16_t half[2] = {0x3c00, 0x4000};
  const NamedTensor tensors[] = {{"o", TensorView::contiguous(o, DType::kF32, {2, 3})},
                                 {"h \"quoted\"", TensorView::contiguous(half, DType::kBF16, {2})},
                                 {"none", TensorView::contiguous(nullptr, DType::kI32, {0, 4})}};
  AtomicFile out(directory.path("o.safetensors"));
  write_safetensors(out, tensors);
  out.commit();
  const SafetensorsFile file = read_safetensors(directory.path("o.safetensors"));
  ASSERT_EQ(file.entries.size(), 3u);
  const HostTensor read = load_tensor(find_tensor(file, "o"), std::nullopt);
  EXPECT_FALSE(read.is_copy);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(read.view.data) % 64, 0u);
  EXPECT_EQ(static_cast<const float*>(read.view.data)[5], 6.0f);
  EXPECT_EQ(find_tensor(file, "h \"quoted\"").dtype, FileDType::kBF16);
  EXPECT_EQ(find_tensor(file, "none").shape, (std::vector<std::int64_t>{0, 4}));
}

TEST(Safetensors, fp8_is_read_as_it_is_or_converted) {
  const std::string file = safetensors_file(object({entry("w", "F8_E4M3", "[4]", "[0,4]")}), "\x38\xc8\x7e\x01");
  const SafetensorsFile parsed = parse_safetensors(as_bytes(file), "w.safetensors");
  EXPECT_EQ(load_tensor(find_tensor(parsed, "w"), std::nullopt).view.dtype, DType::kE4M3);
  const HostTensor wide = load_tensor(find_tensor(parsed, "w"), DType::kF32);
  const auto* x = static_cast<const float*>(wide.view.data);
  EXPECT_EQ(std::vector<float>(x, x + 4), (std::vector<float>{1.0f, -4.0f, 448.0f, 0x1p-9f}));
}

}  // namespace
}  // namespace fovea::cli
