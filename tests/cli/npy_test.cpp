// SPDX-License-Identifier: Apache-2.0
// The .npy reader against files that NumPy writes, and against files that nobody should.
#include "cli/files/npy.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/math.h"
#include "tests/cli/files.h"

namespace fovea::cli {
namespace {

using namespace fovea::test;

std::string dict(std::string_view descr, std::string_view shape, std::string_view order = "False") {
  return "{'descr': '" + std::string(descr) + "', 'fortran_order': " + std::string(order) +
         ", 'shape': " + std::string(shape) + ", }";
}

template <typename T>
std::string raw(std::initializer_list<T> values) {
  const std::vector<T> copy(values);
  return {reinterpret_cast<const char*>(copy.data()), copy.size() * sizeof(T)};
}

std::string parse_error(const std::string& file) {
  return error_of([&] { parse_npy(as_bytes(file), "q.npy"); });
}

TEST(Npy, reads_float32_in_each_format_version) {
  for (const int major : {1, 2, 3}) {
    const std::string file = npy_file(dict("<f4", "(2, 3)"), raw<float>({0, 1, 2, 3, 4, 5}), major);
    const FileArray array = parse_npy(as_bytes(file), "q.npy");
    EXPECT_EQ(array.dtype, FileDType::kF32);
    EXPECT_EQ(array.shape, (std::vector<std::int64_t>{2, 3}));
    const HostTensor tensor = load_tensor(array, std::nullopt);
    ASSERT_EQ(tensor.view.ndim, 2);
    EXPECT_EQ(tensor.view.strides[0], 3);
    float last;
    std::memcpy(&last, static_cast<const std::byte*>(tensor.view.data) + 20, 4);
    EXPECT_EQ(last, 5.0f) << "format " << major;
  }
}

TEST(Npy, takes_v2_with_a_byte_order_for_bfloat16_and_asks_about_v2_without) {
  const std::string data = raw<std::uint16_t>({0x3f80, 0x4000});
  const std::string typed = npy_file(dict("<V2", "(2,)"), data);
  EXPECT_EQ(load_tensor(parse_npy(as_bytes(typed), "q.npy"), std::nullopt).view.dtype, DType::kBF16);

  const std::string untyped = npy_file(dict("|V2", "(2,)"), data);
  const FileArray array = parse_npy(as_bytes(untyped), "q.npy");
  expect_contains(error_of([&] { load_tensor(array, std::nullopt); }), {"q.npy", "|V2", "--dtype bf16"});
  expect_contains(error_of([&] { load_tensor(array, DType::kF32); }), {"q.npy", "cannot be fp32"});
  const HostTensor tensor = load_tensor(array, DType::kBF16);
  EXPECT_EQ(tensor.view.dtype, DType::kBF16);
  EXPECT_FALSE(tensor.is_copy);
}

TEST(Npy, converts_to_the_asked_dtype_with_rounding_to_nearest_even) {
  const std::string file = npy_file(dict("<f4", "(4,)"), raw<float>({1.0f, 1.00390625f, 1.01171875f, -INFINITY}));
  const HostTensor tensor = load_tensor(parse_npy(as_bytes(file), "q.npy"), DType::kBF16);
  const auto* bits = static_cast<const std::uint16_t*>(tensor.view.data);
  EXPECT_TRUE(tensor.is_copy);
  EXPECT_EQ(bits[0], 0x3f80);
  EXPECT_EQ(bits[1], 0x3f80);  // half way between 1 and 1 + 2^-7: to the even one
  EXPECT_EQ(bits[2], 0x3f82);  // half way between 1 + 2^-7 and 1 + 2^-6: to the even one
  EXPECT_EQ(bits[3], 0xff80);

  const std::string half = npy_file(dict("<f2", "(2,)"), raw<std::uint16_t>({0x3c00, 0x7bff}));
  const HostTensor wide = load_tensor(parse_npy(as_bytes(half), "q.npy"), DType::kF32);
  EXPECT_EQ(static_cast<const float*>(wide.view.data)[0], 1.0f);
  EXPECT_EQ(static_cast<const float*>(wide.view.data)[1], 65504.0f);
}

TEST(Npy, reads_a_file_in_place_and_survives_its_replacement) {
  const TemporaryDirectory directory;
  const std::string path = directory.path("q.npy");
  write_file(path, npy_file(dict("<f4", "(1, 2)"), raw<float>({7, 8})));
  const HostTensor tensor = load_tensor(read_npy(path), std::nullopt);
  EXPECT_FALSE(tensor.is_copy);
  std::filesystem::remove(path);
  write_file(path, "other");
  EXPECT_EQ(static_cast<const float*>(tensor.view.data)[1], 8.0f);
}

TEST(Npy, copies_elements_that_lie_at_odd_addresses) {
  std::string file = npy_file(dict("<f4", "(2,)"), raw<float>({3, 4}));
  file.insert(file.begin() + 10, ' ');  // one more byte of header
  file[8] = static_cast<char>(file[8] + 1);
  std::vector<std::byte> aligned(file.size() + 64);
  auto* const base = aligned.data() + (64 - reinterpret_cast<std::uintptr_t>(aligned.data()) % 64) % 64;
  std::memcpy(base, file.data(), file.size());
  const HostTensor tensor = load_tensor(parse_npy({base, file.size()}, "q.npy"), std::nullopt);
  EXPECT_TRUE(tensor.is_copy);
  EXPECT_EQ(static_cast<const float*>(tensor.view.data)[1], 4.0f);
}

TEST(Npy, reads_lengths_of_both_widths_and_refuses_what_is_no_length) {
  const auto lengths = [](std::string_view descr, const std::string& data, std::string_view shape) {
    const std::string file = npy_file(dict(descr, shape), data);
    return load_lengths(parse_npy(as_bytes(file), "lens.npy"));
  };
  for (const HostTensor& tensor :
       {lengths("<i4", raw<std::int32_t>({3, 9}), "(2,)"), lengths("<i8", raw<std::int64_t>({3, 9}), "(2,)")}) {
    EXPECT_EQ(tensor.view.dtype, DType::kI32);
    EXPECT_EQ(static_cast<const std::int32_t*>(tensor.view.data)[1], 9);
  }
  EXPECT_EQ(lengths("<i8", "", "(0,)").view.shape[0], 0);
  expect_contains(error_of([&] {
                    lengths("<i8", raw<std::int64_t>({1, std::int64_t{1} << 31}), "(2,)");
                  }),
                  {"lens.npy", "element 1 is 2147483648"});
  expect_contains(error_of([&] { lengths("<i4", raw<std::int32_t>({-1}), "(1,)"); }), {"element 0 is -1"});
  expect_contains(error_of([&] { lengths("<f4", raw<float>({1}), "(1,)"); }), {"<f4", "int32"});
  expect_contains(error_of([&] { lengths("<i4", raw<std::int32_t>({1}), "(1, 1)"); }), {"(1, 1)", "one dimension"});
}

TEST(Npy, says_what_is_wrong_with_a_sound_file_of_the_wrong_kind) {
  const auto of_dtype = [](std::string_view descr, std::size_t bytes) {
    return parse_error(npy_file(dict(descr, "(2,)"), std::string(bytes, '\0')));
  };
  expect_contains(of_dtype(">f4", 8), {"q.npy", "'>f4'", "big-endian", "newbyteorder"});
  expect_contains(of_dtype("<f8", 16), {"q.npy", "'<f8'", "float32", "astype"});
  expect_contains(of_dtype("|O", 16), {"q.npy", "'|O'", "objects"});
  expect_contains(of_dtype("<c8", 16), {"q.npy", "'<c8'", "'<f4'"});
  expect_contains(
      parse_error(npy_file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "12345678")),
      {"q.npy", "structured"});
  expect_contains(parse_error(npy_file(dict("<f4", "(2, 3)", "True"), std::string(24, '\0'))),
                  {"q.npy", "Fortran", "ascontiguousarray"});
}

TEST(Npy, fortran_order_is_no_matter_with_one_long_dimension) {
  const std::string file = npy_file(dict("<f4", "(1, 2, 1)", "True"), raw<float>({1, 2}));
  EXPECT_EQ(parse_npy(as_bytes(file), "q.npy").shape.size(), 3u);
}

TEST(Npy, says_how_many_bytes_are_missing_or_too_many) {
  expect_contains(parse_error(npy_file(dict("<f4", "(2, 3)"), std::string(20, '\0'))),
                  {"q.npy", "truncated", "(2, 3)", "needs 24 bytes", "has 20"});
  expect_contains(parse_error(npy_file(dict("<f4", "(2,)"), std::string(11, '\0'))), {"q.npy", "3 bytes after the 8"});
  const std::string whole = npy_file(dict("<f4", "(2,)"), std::string(8, '\0'));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(contains(parse_error(whole.substr(0, size)), "q.npy")) << "cut to " << size << " bytes";
  }
}

TEST(Npy, refuses_headers_that_lie) {
  const auto of_shape = [](std::string_view shape) { return parse_error(npy_file(dict("<f4", shape), "")); };
  expect_contains(of_shape("(-1, 2)"), {"negative size -1"});
  expect_contains(of_shape("(4611686018427387904, 4)"), {"more bytes than any memory"});
  expect_contains(of_shape("(4611686018427387904, 0, 4611686018427387904)"), {"more bytes than any memory"});
  expect_contains(of_shape("(99999999999999999999,)"), {"beyond 2^63"});
  expect_contains(of_shape("(1.5,)"), {"malformed"});
  expect_contains(of_shape("(2, 3"), {"malformed"});
  expect_contains(of_shape("2"), {"malformed", "'('"});
  expect_contains(parse_error(npy_file("{'descr': '<f4', 'shape': (2,)}", "12345678")), {"lacks fortran_order"});
  expect_contains(parse_error(npy_file("{'descr': '<f4', 'descr': '<f4'}", "")), {"twice"});
  expect_contains(parse_error(npy_file("{'colour': 'red'}", "")), {"'colour'", "unknown"});
  expect_contains(parse_error(npy_file("", "")), {"malformed"});
  expect_contains(parse_error(npy_file(dict("<f4", "(2,)") + "; import os", "")), {"nothing more"});
  expect_contains(parse_error(npy_file("{'descr': '\x1b[31m", "")), {"malformed", "\\x1b"});
  std::string dims = "(";
  for (int i = 0; i < 100; ++i) dims += "1, ";
  expect_contains(of_shape(dims + ")"), {"more than 64 dimensions"});
}

TEST(Npy, refuses_absurd_header_lengths_and_other_formats) {
  expect_contains(parse_error("\x93NUMPY" + std::string("\x02\x00\xff\xff\xff\xff", 6) + "{}"), {"claims 4294967295"});
  expect_contains(parse_error("\x93NUMPY" + std::string("\x01\x00\xff\x7f", 4) + "{}"), {"truncated", "claims 32767"});
  expect_contains(parse_error("\x93NUMPY" + std::string("\x04\x00\x02\x00{}", 6)), {"4.0", "1.0, 2.0 or 3.0"});
  expect_contains(parse_error("PK\x03\x04 a zip archive"), {"no .npy file", "numpy.save"});
  expect_contains(parse_error(""), {"no .npy file"});
}

TEST(Npy, refuses_paths_that_are_no_regular_files_without_waiting) {
  const TemporaryDirectory directory;
  const std::string pipe = directory.path("pipe.npy");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_contains(error_of([&] { read_npy(pipe); }), {pipe, "a pipe", "regular file"});
  expect_contains(error_of([&] { read_npy(directory.path("")); }), {"a directory"});
  expect_contains(error_of([&] { read_npy("/dev/zero"); }), {"/dev/zero", "a device"});
  expect_contains(error_of([&] { read_npy(directory.path("none.npy")); }), {"none.npy", "No such file"});
  write_file(directory.path("empty.npy"), "");
  expect_contains(error_of([&] { read_npy(directory.path("empty.npy")); }), {"empty.npy", "no .npy file"});
}

TEST(Npy, more_dimensions_than_a_view_holds_are_refused) {
  const std::string file = npy_file(dict("<f4", "(1, 1, 1, 1, 1, 1)"), raw<float>({1}));
  expect_contains(error_of([&] { load_tensor(parse_npy(as_bytes(file), "q.npy"), std::nullopt); }), {"6 dimensions"});
}

TEST(Npy, what_is_written_is_read_back) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32}) {
    const std::int64_t shape[] = {2, 0, 3};
    const std::string file = npy_header(dtype, shape);
    EXPECT_EQ(file.size() % 64, 0u);
    const FileArray array = parse_npy(as_bytes(file), "o.npy");
    EXPECT_EQ(array.shape, (std::vector<std::int64_t>{2, 0, 3}));
    if (dtype != DType::kI32) {
      EXPECT_EQ(load_tensor(array, std::nullopt).view.dtype, dtype);
    }
  }
  const std::int64_t one[] = {5};
  EXPECT_TRUE(contains(npy_header(DType::kF32, one), "'shape': (5,), }"));
}

}  // namespace
}  // namespace fovea::cli
