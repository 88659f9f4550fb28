// SPDX-License-Identifier: Apache-2.0
// The texts that NVRTC may include: kernels/, contract/ and fovea/types.h, embedded in the library or read from a
// folder.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::jit {

/// name is the include path: "contract/mask.h", "kernels/attention/forward_sm80.cuh", "fovea/types.h".
struct EmbeddedText {
  std::string_view name;
  std::string_view content;
};

/// Generated at build time (cmake/EmbedTexts.cmake).
std::span<const EmbeddedText> embedded_texts();

/// The texts by name. Plain data, small enough to copy.
using Texts = std::map<std::string, std::string, std::less<>>;

/// From kernel_dir (its folders kernels/, contract/ and include/), or the embedded ones if it is empty.
/// Throws kInvalidArgument "FOVEA_KERNEL_DIR" if the folder has no such texts.
Texts load_texts(const std::string& kernel_dir);

/// Names of all texts that source includes by "...", directly or through others, in alphabetical order.
/// A name that is not there is left out: the compiler will report it better.
std::vector<std::string_view> included_texts(const Texts& texts, std::string_view source);

}  // namespace fovea::jit
