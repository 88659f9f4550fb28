// SPDX-License-Identifier: Apache-2.0
// The bytes of one cache entry. Layout, little-endian: magic (8), format (4), metadata length (4), payload length (8),
// key (64 hexadecimal digits), metadata ("name=value" lines), payload, SHA-256 of everything before it (32).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jit/cache.h"

namespace fovea::jit {

std::vector<std::byte> pack_entry(std::string_view key, const Metadata& metadata, std::span<const std::byte> payload);

/// The reason why these bytes are not the entry of this key ("cut short", "damaged"), or empty and *entry is filled.
std::string unpack_entry(std::span<const std::byte> bytes, std::string_view key, CacheEntry* entry);

}  // namespace fovea::jit
