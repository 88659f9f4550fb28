// SPDX-License-Identifier: Apache-2.0
#include "cli/files/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace fovea::cli {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;
constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kMaxHeader = 1 << 16;  // NumPy's own are below 256 bytes, and it refuses more than 10000
constexpr std::size_t kMaxDims = 64;         // NumPy's limit

/// A reader of the header, the text of a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  /// True, and past it, when the next character that is no space is c.
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c, const char* where) {
    if (!take(c)) malformed(fmt::format("'{}' {}", c, where));
  }
  bool next_is(char c) {
    skip_space();
    return at_ < text_.size() && text_[at_] == c;
  }
  std::string_view quoted() {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') malformed("a quoted string");
    const auto end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) malformed("the end of a quoted string");
    const auto word = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return word;
  }
  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    malformed("True or False");
  }
  /// A number that does not fit is an error of its own, as it is no mistake of spelling.
  std::int64_t integer() {
    skip_space();
    std::int64_t value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    check(error != std::errc::result_out_of_range, kBad, name_, "{}: the header's shape has a size beyond 2^63", name_);
    if (error != std::errc()) malformed("a whole number");
    at_ += static_cast<std::size_t>(end - begin);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote long integers so
    return value;
  }
  void expect_end() {
    skip_space();
    if (at_ != text_.size()) malformed("nothing more after '}'");
  }
  [[noreturn]] void malformed(std::string_view wanted) const {
    fail(kBad, name_, "{}: malformed .npy header, expected {} at byte {}: {}; write the file again with numpy.save",
         name_, wanted, at_, printable(text_.substr(std::min(at_, text_.size()))));
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

struct Header {
  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
};

std::vector<std::int64_t> read_shape(HeaderText& text, const std::string& name) {
  std::vector<std::int64_t> shape;
  text.expect('(', "before the shape");
  while (!text.take(')')) {
    const std::int64_t extent = text.integer();
    check(extent >= 0, kBad, name, "{}: the header's shape has a negative size {}, must be 0 or more", name, extent);
    check(shape.size() < kMaxDims, kBad, name, "{}: the header's shape has more than {} dimensions", name, kMaxDims);
    shape.push_back(extent);
    if (!text.take(',') && !text.next_is(')')) text.malformed("',' or ')' in the shape");
  }
  return shape;
}

Header read_header(std::string_view dict, const std::string& name) {
  HeaderText text(dict, name);
  Header header;
  text.expect('{', "at the start");
  while (!text.take('}')) {
    const std::string_view key = text.quoted();
    text.expect(':', "after a key");
    const bool is_new = key == "descr"           ? !header.descr
                        : key == "fortran_order" ? !header.fortran_order
                        : key == "shape"         ? !header.shape
                                                 : false;
    check(is_new, kBad, name, "{}: .npy header key '{}' is unknown or there twice, must be descr, fortran_order, shape",
          name, printable(key));
    if (key == "descr") {
      check(!text.next_is('['), kBad, name,
            "{}: has a structured dtype, must hold plain numbers; save one field, as with x['field']", name);
      header.descr = text.quoted();
    } else if (key == "fortran_order") {
      header.fortran_order = text.boolean();
    } else {
      header.shape = read_shape(text, name);
    }
    if (!text.take(',') && !text.next_is('}')) text.malformed("',' or '}' after a value");
  }
  text.expect_end();
  check(header.descr && header.fortran_order && header.shape, kBad, name,
        "{}: .npy header lacks {}; write the file again with numpy.save", name,
        !header.descr           ? "descr"
        : !header.fortran_order ? "fortran_order"
                                : "shape");
  return header;
}

struct ElementType {
  FileDType dtype;
  int bytes;
};

ElementType element_type(std::string_view descr, const std::string& name) {
  constexpr std::pair<std::string_view, ElementType> kTypes[] = {
      {"<f4", {FileDType::kF32, 4}},  {"<f2", {FileDType::kF16, 2}}, {"<V2", {FileDType::kBF16, 2}},
      {"<i4", {FileDType::kI32, 4}},  {"<i8", {FileDType::kI64, 8}}, {"bfloat16", {FileDType::kBF16, 2}},
      {"|V2", {FileDType::kRaw16, 2}}};
  for (const auto& [word, type] : kTypes) {
    if (word == descr) return type;
  }
  const std::string shown = printable(descr);
  check(!descr.starts_with('>'), kBad, name,
        "{}: dtype is '{}', big-endian, must be little-endian ('<'); save x.astype(x.dtype.newbyteorder('<'))", name,
        shown);
  check(!descr.ends_with('O'), kBad, name,
        "{}: dtype is '{}', Python objects, must be plain numbers; save x.astype(np.float32)", name, shown);
  check(descr != "<f8", kBad, name,
        "{}: dtype is '{}' (float64), must be float32, float16 or bfloat16; save x.astype(np.float32)", name, shown);
  fail(kBad, name,
       "{}: dtype is '{}', must be '<f4', '<f2', '<V2' (bfloat16), or '<i4', '<i8' for lengths; save "
       "x.astype(np.float32)",
       name, shown);
}

/// Where the dict lies, from the fixed part of the file.
struct Layout {
  std::size_t dict_begin;
  std::size_t dict_bytes;
};

Layout read_prefix(std::span<const std::byte> file, const std::string& name) {
  check(file.size() >= kMagic.size() && std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0, kBad, name,
        "{}: is no .npy file (it does not start with \\x93NUMPY); write it with numpy.save", name);
  const bool has_version = file.size() > 7;
  const int major = has_version ? static_cast<int>(file[6]) : 1;
  const int minor = has_version ? static_cast<int>(file[7]) : 0;
  check(major >= 1 && major <= 3 && minor == 0, kBad, name,
        "{}: .npy format is {}.{}, must be 1.0, 2.0 or 3.0; write it with numpy.save", name, major, minor);
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  check(file.size() >= 8 + length_bytes, kBad, name, "{}: is truncated inside the .npy header, {} bytes; copy it again",
        name, file.size());
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= static_cast<std::size_t>(file[8 + i]) << (8 * i);
  check(length <= kMaxHeader, kBad, name, "{}: .npy header claims {} bytes, must be at most {}", name, length,
        kMaxHeader);
  check(file.size() - 8 - length_bytes >= length, kBad, name,
        "{}: is truncated inside the .npy header: it claims {} bytes, the file has {} after it; copy it again", name,
        length, file.size() - 8 - length_bytes);
  return {8 + length_bytes, length};
}

}  // namespace

FileArray parse_npy(std::span<const std::byte> file, const std::string& name) {
  const Layout layout = read_prefix(file, name);
  const auto* const text = reinterpret_cast<const char*>(file.data());
  Header header = read_header({text + layout.dict_begin, layout.dict_bytes}, name);
  const ElementType type = element_type(*header.descr, name);
  const auto long_dimensions = std::count_if(header.shape->begin(), header.shape->end(), [](auto n) { return n != 1; });
  const auto wanted = shape_bytes(*header.shape, type.bytes);
  check(wanted.has_value(), kBad, name, "{}: the header's shape {} has more bytes than any memory; it is wrong", name,
        shape_text(*header.shape));
  // With at most one dimension longer than 1, and with no elements, both orders are the same.
  check(!*header.fortran_order || long_dimensions <= 1 || *wanted == 0, kBad, name,
        "{}: is in Fortran order, must be in C order; save np.ascontiguousarray(x)", name);
  const std::size_t begin = layout.dict_begin + layout.dict_bytes;
  const std::size_t have = file.size() - begin;
  check(have >= static_cast<std::size_t>(*wanted), kBad, name,
        "{}: is truncated: shape {} of '{}' needs {} bytes, the file has {}; copy it again", name,
        shape_text(*header.shape), *header.descr, *wanted, have);
  check(have == static_cast<std::size_t>(*wanted), kBad, name,
        "{}: has {} bytes after the {} that shape {} of '{}' needs; it is damaged or holds more than one array", name,
        have - static_cast<std::size_t>(*wanted), *wanted, shape_text(*header.shape), *header.descr);
  FileArray array;
  array.name = name;
  array.dtype = type.dtype;
  array.dtype_name = *header.descr;
  array.shape = std::move(*header.shape);
  array.bytes = file.subspan(begin);
  return array;
}

FileArray read_npy(const std::string& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  FileArray array = parse_npy(file->bytes(), path);
  array.file = file;
  return array;
}

std::string npy_header(DType dtype, std::span<const std::int64_t> shape) {
  constexpr const char* kDescr[] = {"<f4", "<f2", "<V2", "<i4"};  // in the order of DType
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                                 kDescr[static_cast<int>(dtype)], shape_text(shape));
  const std::size_t prefix = kMagic.size() + 4;
  const auto total = static_cast<std::size_t>(round_up(static_cast<std::int64_t>(prefix + dict.size() + 1), 64));
  dict.append(total - prefix - dict.size() - 1, ' ');
  dict += '\n';
  std::string header(kMagic);
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

}  // namespace fovea::cli
