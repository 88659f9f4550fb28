// SPDX-License-Identifier: Apache-2.0
#include "jit/resources.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace fovea::jit {
namespace {

template <typename Function>
void for_each_line(std::string_view text, Function&& function) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    function(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// The number that stands right before these words (" registers" in "Used 168 registers"), or -1.
int number_before(std::string_view line, std::string_view words) {
  const std::size_t end = line.find(words);  // words begin with the space
  if (end == std::string_view::npos) return -1;
  std::size_t begin = end;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  int value = -1;
  std::from_chars(line.data() + begin, line.data() + end, value);
  return value;
}

}  // namespace

Resources parse_resources(std::string_view log, std::string_view entry) {
  Resources r;
  bool of_entry = false;
  bool seen = false;
  for_each_line(log, [&](std::string_view line) {
    if (line.find("Compiling entry function") != std::string_view::npos) {
      of_entry = line.find(fmt::format("'{}'", entry)) != std::string_view::npos;
    }
    if (!of_entry) return;
    if (const int stack = number_before(line, " bytes stack frame"); stack >= 0) {
      r.stack_bytes += stack;
      r.spill_store_bytes += std::max(0, number_before(line, " bytes spill stores"));
      r.spill_load_bytes += std::max(0, number_before(line, " bytes spill loads"));
    }
    if (const int registers = number_before(line, " registers"); registers >= 0) {
      r.registers_per_thread = registers;
      r.static_shared_bytes = std::max(0, number_before(line, " bytes smem"));
      seen = true;
    }
  });
  check(seen, ErrorCode::kInternal, "", "the compiler's log says nothing about registers of {}:\n{}", entry, log);
  return r;
}

std::vector<std::string> pipeline_remarks(std::string_view log) {
  std::vector<std::string> remarks;
  for_each_line(log, [&](std::string_view line) {
    if (line.find("(C75") != std::string_view::npos) remarks.emplace_back(line);
  });
  return remarks;
}

}  // namespace fovea::jit
