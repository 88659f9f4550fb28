// SPDX-License-Identifier: Apache-2.0
#include "compile_ring/spills.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace fovea {
namespace {

constexpr std::string_view kMark = "// Spills:";

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return std::string(text);
}

AllowedSpill parse(std::string_view line, std::string_view file) {
  std::vector<std::string> parts;
  std::string_view rest = line.substr(kMark.size());
  while (parts.size() < 4) {
    const std::size_t bar = std::min(rest.find('|'), rest.size());
    parts.push_back(trimmed(rest.substr(0, bar)));
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  AllowedSpill spill = {parts[0], parts[1], parts[2], 0, trimmed(rest)};
  const auto [end, error] = std::from_chars(parts[3].data(), parts[3].data() + parts[3].size(), spill.bytes);
  check(error == std::errc() && std::string_view(end) == " bytes" && !spill.reason.empty(), ErrorCode::kInternal, "",
        "{}: '{}' must be: {} entry | architecture | part of the config | number bytes | reason", file, line, kMark);
  return spill;
}

bool fits(std::string_view pattern, std::string_view word) { return pattern == "*" || pattern == word; }

}  // namespace

std::vector<AllowedSpill> allowed_spills(const jit::Texts& texts) {
  std::vector<AllowedSpill> allowed;
  for (const auto& [name, text] : texts) {
    for (std::size_t at = text.find(kMark); at != std::string::npos; at = text.find(kMark, at + 1)) {
      allowed.push_back(
          parse(std::string_view(text).substr(at, std::min(text.find('\n', at), text.size()) - at), name));
    }
  }
  return allowed;
}

int allowed_spill_bytes(const std::vector<AllowedSpill>& allowed, std::string_view entry, std::string_view architecture,
                        std::string_view config) {
  int bytes = 0;
  for (const AllowedSpill& a : allowed) {
    const bool config_fits = a.config_part == "*" || config.find(a.config_part) != std::string_view::npos;
    if (a.entry == entry && fits(a.architecture, architecture) && config_fits) bytes = std::max(bytes, a.bytes);
  }
  return bytes;
}

}  // namespace fovea
