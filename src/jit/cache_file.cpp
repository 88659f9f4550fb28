// SPDX-License-Identifier: Apache-2.0
#include "jit/cache_file.h"

#include <cstring>

#include "base/sha256.h"

namespace fovea::jit {
namespace {

constexpr std::uint32_t kFormat = 1;

struct Header {
  char magic[8];
  std::uint32_t format;
  std::uint32_t metadata_bytes;
  std::uint64_t payload_bytes;
  char key[64];
};
static_assert(sizeof(Header) == 88);

constexpr char kMagic[8] = {'F', 'O', 'V', 'E', 'A', 'K', 'R', 'N'};

/// Copies n bytes to *place and moves it behind them.
void put(std::byte*& place, const void* data, std::size_t n) {
  if (n > 0) std::memcpy(place, data, n);
  place += n;
}

std::string clean(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\0') c = ' ';
  }
  return text;
}

Metadata parse_metadata(std::string_view text) {
  Metadata metadata;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (const std::size_t equals = line.find('='); equals != std::string_view::npos) {
      metadata.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return metadata;
}

}  // namespace

std::vector<std::byte> pack_entry(std::string_view key, const Metadata& metadata, std::span<const std::byte> payload) {
  std::string lines;
  for (const auto& [name, value] : metadata) lines += clean(name) + "=" + clean(value) + "\n";
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.format = kFormat;
  header.metadata_bytes = static_cast<std::uint32_t>(lines.size());
  header.payload_bytes = payload.size();
  std::memcpy(header.key, key.data(), std::min(key.size(), sizeof header.key));
  std::vector<std::byte> bytes(sizeof header + lines.size() + payload.size() + sizeof(Digest));
  std::byte* place = bytes.data();
  put(place, &header, sizeof header);
  put(place, lines.data(), lines.size());
  put(place, payload.data(), payload.size());
  const Digest digest = Sha256().add(std::span(bytes).first(bytes.size() - sizeof(Digest))).digest();
  put(place, digest.data(), digest.size());
  return bytes;
}

std::string unpack_entry(std::span<const std::byte> bytes, std::string_view key, CacheEntry* entry) {
  if (bytes.size() < sizeof(Header) + sizeof(Digest)) return "cut short";
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return "not an entry of this cache";
  if (header.format != kFormat) return "written in another format";
  // Compared one by one, so that damaged lengths cannot overflow a sum.
  const std::size_t rest = bytes.size() - sizeof(Header) - sizeof(Digest);
  if (header.metadata_bytes > rest || header.payload_bytes != rest - header.metadata_bytes)
    return "cut short or damaged";
  const Digest digest = Sha256().add(bytes.first(bytes.size() - sizeof(Digest))).digest();
  if (std::memcmp(digest.data(), bytes.data() + bytes.size() - sizeof(Digest), sizeof(Digest)) != 0) return "damaged";
  if (std::string_view(header.key, sizeof header.key) != key) return "an entry of another key";
  const auto* text = reinterpret_cast<const char*>(bytes.data() + sizeof header);
  entry->metadata = parse_metadata({text, header.metadata_bytes});
  const auto payload = bytes.subspan(sizeof header + header.metadata_bytes, header.payload_bytes);
  entry->payload.assign(payload.begin(), payload.end());
  return {};
}

}  // namespace fovea::jit
