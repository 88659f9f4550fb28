// SPDX-License-Identifier: Apache-2.0
#include "jit/texts.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/check.h"

namespace fovea::jit {
namespace {

namespace fs = std::filesystem;

void read_folder(Texts& texts, const fs::path& folder, const fs::path& names_from) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string extension = it->path().extension();
    if (!it->is_regular_file(error) || (extension != ".h" && extension != ".cuh")) continue;
    std::ifstream file(it->path(), std::ios::binary);
    texts[it->path().lexically_relative(names_from).generic_string()] =
        std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
}

/// The name in the next #include "name" at or after position; moves position behind it. Empty at the end.
std::string_view next_include(std::string_view source, std::size_t& position) {
  constexpr std::string_view kWord = "#include \"";
  const std::size_t found = source.find(kWord, position);
  if (found == std::string_view::npos) return {};
  const std::size_t begin = found + kWord.size();
  const std::size_t end = source.find_first_of("\"\n", begin);
  if (end == std::string_view::npos) return {};
  position = end;
  return source.substr(begin, end - begin);
}

void collect(const Texts& texts, std::string_view source, std::set<std::string_view>& found) {
  std::size_t position = 0;
  for (std::string_view name = next_include(source, position); !name.empty(); name = next_include(source, position)) {
    const auto text = texts.find(name);
    if (text != texts.end() && found.insert(text->first).second) collect(texts, text->second, found);
  }
}

}  // namespace

Texts load_texts(const std::string& kernel_dir) {
  Texts texts;
  if (kernel_dir.empty()) {
    for (const EmbeddedText& text : embedded_texts()) texts.emplace(text.name, text.content);
    return texts;
  }
  const fs::path root(kernel_dir);
  read_folder(texts, root / "kernels", root);
  read_folder(texts, root / "contract", root);
  read_folder(texts, root / "include", root / "include");
  check(texts.contains("fovea/types.h"), ErrorCode::kInvalidArgument, "FOVEA_KERNEL_DIR",
        "FOVEA_KERNEL_DIR is '{}', must hold kernels/, contract/ and include/fovea/types.h (a source tree of Fovea); "
        "unset it to use the texts in the library",
        kernel_dir);
  return texts;
}

std::vector<std::string_view> included_texts(const Texts& texts, std::string_view source) {
  std::set<std::string_view> found;
  collect(texts, source, found);
  return {found.begin(), found.end()};
}

}  // namespace fovea::jit
