// SPDX-License-Identifier: Apache-2.0
// Made-up q, k and v that behave like a layer of a language model: random content, rotary positions as in Llama 3, and
// a bias per head, so that heads look at different places and the picture shows something.
#pragma once

#include <cstdint>

#include "cli/random_inputs.h"

namespace fovea::cli {

/// What a query head looks at; head h does kinds in turn: h % 4.
enum class HeadKind : unsigned char { kNearby, kFirstKey, kPeriodic, kContent };
const char* description_of(HeadKind kind);
inline HeadKind kind_of_head(int head) { return static_cast<HeadKind>(head % 4); }

/// Layout kBSHD, batch 1, head_dim even.
void fill_like_a_model(CallData& data, std::uint64_t seed);

}  // namespace fovea::cli
