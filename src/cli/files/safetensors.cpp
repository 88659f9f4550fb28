// SPDX-License-Identifier: Apache-2.0
#include "cli/files/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/math.h"
#include "cli/files/atomic_file.h"
#include "contract/dtype.h"

namespace fovea::cli {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's limit
constexpr std::size_t kMaxDims = 64;
constexpr std::size_t kLengthBytes = 8;

/// Bits per element; 0 for a dtype that this reader does not know.
int bits_of(std::string_view dtype) {
  constexpr std::pair<std::string_view, int> kTypes[] = {
      {"F64", 64},  {"I64", 64}, {"U64", 64}, {"C64", 64},    {"F32", 32},    {"I32", 32}, {"U32", 32}, {"F16", 16},
      {"BF16", 16}, {"I16", 16}, {"U16", 16}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"I8", 8},   {"U8", 8},   {"BOOL", 8}};
  for (const auto& [word, bits] : kTypes) {
    if (word == dtype) return bits;
  }
  return 0;
}

FileDType file_dtype(std::string_view dtype) {
  constexpr std::pair<std::string_view, FileDType> kTypes[] = {
      {"F32", FileDType::kF32},      {"F16", FileDType::kF16}, {"BF16", FileDType::kBF16},
      {"F8_E4M3", FileDType::kE4M3}, {"I32", FileDType::kI32}, {"I64", FileDType::kI64}};
  for (const auto& [word, type] : kTypes) {
    if (word == dtype) return type;
  }
  return FileDType::kOther;
}

/// Reads the header without building a tree of it: memory stays in proportion to the entries, nesting is bounded by
/// the schema, and duplicate keys are seen. The functions are those that nlohmann's SAX interface asks for; each
/// returns false to stop, with the reason in problem.
class HeaderReader {
 public:
  using Json = nlohmann::json;

  std::vector<SafetensorsEntry> entries;
  std::string problem;

  bool start_object(std::size_t) {
    if (where_ == Where::kStart) return go(Where::kTop);
    if (where_ == Where::kTensorName) return go(Where::kTensor);
    if (where_ == Where::kMetadataName) return go(Where::kMetadata);
    return unexpected("an object");
  }
  bool end_object() {
    if (where_ == Where::kTensor) {
      if (has_dtype_ && has_shape_ && has_offsets_) return go(Where::kTop);
      return stop("tensor '{}' lacks {}", printable(entries.back().name),
                  !has_dtype_   ? "dtype"
                  : !has_shape_ ? "shape"
                                : "data_offsets");
    }
    return go(where_ == Where::kMetadata ? Where::kTop : Where::kEnd);
  }
  bool key(std::string& text) {
    if (where_ == Where::kTop) return start_entry(text);
    if (where_ == Where::kMetadata) {
      if (metadata_keys_.insert(text).second) return go(Where::kMetadataValue);
      return stop("key '{}' is twice in __metadata__", printable(text));
    }
    const bool is_new = text == "dtype"          ? !std::exchange(has_dtype_, true)
                        : text == "shape"        ? !std::exchange(has_shape_, true)
                        : text == "data_offsets" ? !std::exchange(has_offsets_, true)
                                                 : false;
    if (!is_new) {
      return stop("key '{}' of tensor '{}' is unknown or there twice, must be dtype, shape, data_offsets",
                  printable(text), printable(entries.back().name));
    }
    return go(text == "dtype" ? Where::kDType : text == "shape" ? Where::kShapeKey : Where::kOffsetsKey);
  }
  bool string(std::string& text) {
    if (where_ == Where::kMetadataValue) return go(Where::kMetadata);
    if (where_ != Where::kDType) return unexpected("a string");
    entries.back().dtype = text;
    return go(Where::kTensor);
  }
  bool start_array(std::size_t) {
    if (where_ == Where::kShapeKey) return go(Where::kShape);
    if (where_ == Where::kOffsetsKey) return go(Where::kOffsets);
    return unexpected("a list");
  }
  bool end_array() {
    if (where_ == Where::kOffsets && offsets_.size() != 2) {
      return stop("data_offsets of tensor '{}' has {} numbers, must have 2", printable(entries.back().name),
                  offsets_.size());
    }
    if (where_ == Where::kOffsets)
      std::tie(entries.back().begin, entries.back().end) = std::pair(offsets_[0], offsets_[1]);
    return go(Where::kTensor);
  }
  bool number_unsigned(Json::number_unsigned_t value) {
    if (where_ == Where::kOffsets && offsets_.size() < 3) {
      offsets_.push_back(value);
      return true;
    }
    if (where_ != Where::kShape) return unexpected("a number");
    auto& shape = entries.back().shape;
    if (value > static_cast<std::uint64_t>(INT64_MAX) || shape.size() >= kMaxDims) {
      return stop("shape of tensor '{}' has a size beyond 2^63 or more than {} dimensions",
                  printable(entries.back().name), kMaxDims);
    }
    shape.push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool number_integer(Json::number_integer_t value) {
    if (where_ != Where::kShape && where_ != Where::kOffsets) return unexpected("a number");
    return stop("tensor '{}' has the number {} in its shape or data_offsets, must not be negative",
                printable(entries.back().name), value);
  }
  bool number_float(Json::number_float_t, const std::string&) {
    return unexpected("a fraction or a number beyond 2^64");
  }
  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("true or false"); }
  bool binary(Json::binary_t&) { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    return stop("is not valid JSON at byte {}", position);
  }

 private:
  enum class Where : unsigned char {
    kStart,
    kTop,
    kTensorName,
    kTensor,
    kDType,
    kShapeKey,
    kShape,
    kOffsetsKey,
    kOffsets,
    kMetadataName,
    kMetadata,
    kMetadataValue,
    kEnd
  };

  bool start_entry(const std::string& name) {
    if (!names_.insert(name).second) return stop("key '{}' is there twice", printable(name));
    if (name == "__metadata__") return go(Where::kMetadataName);
    entries.emplace_back().name = name;
    has_dtype_ = has_shape_ = has_offsets_ = false;
    offsets_.clear();
    return go(Where::kTensorName);
  }
  bool go(Where next) {
    where_ = next;
    return true;
  }
  template <typename... Args>
  bool stop(fmt::format_string<Args...> text, Args&&... args) {
    problem = fmt::format(text, std::forward<Args>(args)...);
    return false;
  }
  bool unexpected(const char* what) {
    const bool in_tensor = where_ >= Where::kTensorName && where_ <= Where::kOffsets;
    return stop("has {} where it does not belong{}{}", what, in_tensor ? ", in tensor " : "",
                in_tensor ? printable(entries.back().name) : "");
  }

  Where where_ = Where::kStart;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  std::vector<std::uint64_t> offsets_;
  std::unordered_set<std::string> names_, metadata_keys_;
};

std::string_view header_text(std::span<const std::byte> file, const std::string& name) {
  check(file.size() >= kLengthBytes, kBad, name,
        "{}: has {} bytes, too few for a safetensors file (8 bytes of header length); copy it again", name,
        file.size());
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= static_cast<std::uint64_t>(file[i]) << (8 * i);
  check(length <= kMaxHeader, kBad, name,
        "{}: safetensors header claims {} bytes, must be at most {}; the file is damaged or of another format", name,
        length, kMaxHeader);
  check(length <= file.size() - kLengthBytes, kBad, name,
        "{}: is truncated: the safetensors header claims {} bytes, the file has {} after its length; copy it again",
        name, length, file.size() - kLengthBytes);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  check(text.starts_with('{'), kBad, name,
        "{}: safetensors header does not start with '{{'; the file is damaged or of another format", name);
  return text;
}

/// Sizes agree with shapes, and the entries fill the data exactly: no gap, no overlap, nothing after the last.
void check_entries(SafetensorsFile& file) {
  std::stable_sort(file.entries.begin(), file.entries.end(),
                   [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t filled = 0;
  for (const SafetensorsEntry& e : file.entries) {
    const std::string tensor = printable(e.name);
    check(e.begin <= e.end, kBad, file.name, "{}: data_offsets of tensor '{}' are {} and {}, must ascend", file.name,
          tensor, e.begin, e.end);
    check(e.end <= file.data.size(), kBad, file.name,
          "{}: tensor '{}' ends at byte {} of the data, but there are {}; the file is truncated or its header lies",
          file.name, tensor, e.end, file.data.size());
    check(e.begin >= filled, kBad, file.name,
          "{}: tensor '{}' starts at byte {} of the data, inside the one before it "
          "(which ends at {})",
          file.name, tensor, e.begin, filled);
    check(e.begin == filled, kBad, file.name,
          "{}: there is a gap of {} bytes in the data before tensor '{}'; the format "
          "has none",
          file.name, e.begin - filled, tensor);
    filled = e.end;
    const int bits = bits_of(e.dtype);
    if (bits == 0) continue;
    const auto bytes = shape_bytes(e.shape, bits / 8);
    check(bytes.has_value(), kBad, file.name, "{}: shape {} of tensor '{}' has more bytes than any memory; it is wrong",
          file.name, shape_text(e.shape), tensor);
    check(static_cast<std::uint64_t>(*bytes) == e.end - e.begin, kBad, file.name,
          "{}: tensor '{}' of shape {} and dtype {} needs {} bytes, its data_offsets span {}", file.name, tensor,
          shape_text(e.shape), e.dtype, *bytes, e.end - e.begin);
  }
  check(filled == file.data.size(), kBad, file.name,
        "{}: has {} bytes after its last tensor; the file is damaged or its header lies", file.name,
        file.data.size() - filled);
}

const char* dtype_word(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "F32";
    case DType::kF16: return "F16";
    case DType::kBF16: return "BF16";
    case DType::kE4M3: return "F8_E4M3";
    case DType::kI32: break;
  }
  return "I32";
}

}  // namespace

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text = header_text(bytes, name);
  HeaderReader reader;
  const bool ok = nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  check(ok, kBad, name, "{}: safetensors header {}; write the file again", name, reader.problem);
  SafetensorsFile file;
  file.name = name;
  file.entries = std::move(reader.entries);
  file.data = bytes.subspan(kLengthBytes + text.size());
  check_entries(file);
  return file;
}

SafetensorsFile read_safetensors(const std::string& path) {
  const auto mapped = std::make_shared<const MappedFile>(path);
  SafetensorsFile file = parse_safetensors(mapped->bytes(), path);
  file.file = mapped;
  return file;
}

FileArray find_tensor(const SafetensorsFile& file, std::string_view name) {
  const auto entry =
      std::find_if(file.entries.begin(), file.entries.end(), [&](const auto& e) { return e.name == name; });
  if (entry == file.entries.end()) {
    constexpr std::size_t kShown = 12;
    std::vector<std::string> names;
    for (const auto& e : file.entries) {
      if (names.size() < kShown) names.push_back(printable(e.name));
    }
    fail(kBad, file.name, "{}: has no tensor '{}'; it has {}{}", file.name, printable(name),
         names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")),
         file.entries.size() > kShown ? fmt::format(" and {} more", file.entries.size() - kShown) : "");
  }
  FileArray array;
  array.name = fmt::format("{}: {}", file.name, printable(name));
  array.dtype = file_dtype(entry->dtype);
  array.dtype_name = entry->dtype;
  array.shape = entry->shape;
  array.bytes = file.data.subspan(entry->begin, entry->end - entry->begin);
  array.file = file.file;
  return array;
}

void write_safetensors(AtomicFile& out, std::span<const NamedTensor> tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::int64_t offset = 0;
  for (const NamedTensor& t : tensors) {
    const std::span shape(t.view.shape, static_cast<std::size_t>(t.view.ndim));
    const std::int64_t bytes = tensor_bytes(t.view);
    header[t.name] = {{"dtype", dtype_word(t.view.dtype)},
                      {"shape", std::vector<std::int64_t>(shape.begin(), shape.end())},
                      {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  const auto padded = round_up(static_cast<std::int64_t>(kLengthBytes + text.size()), 64);
  text.append(static_cast<std::size_t>(padded) - kLengthBytes - text.size(), ' ');
  char length[kLengthBytes];
  for (std::size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  out.write(length, kLengthBytes);
  out.write(text.data(), text.size());
  for (const NamedTensor& t : tensors) out.write(t.view.data, static_cast<std::size_t>(tensor_bytes(t.view)));
}

}  // namespace fovea::cli
