// SPDX-License-Identifier: Apache-2.0
#include "cli/demo/inputs.h"

#include <cmath>
#include <vector>

namespace fovea::cli {
namespace {

constexpr double kRopeBase = 500000.0;  // Llama 3
constexpr float kContent = 0.7f;        // deviation of the random part
constexpr float kSink = 30.0f;          // of key 0 along the slowest pair, which rotation leaves in place

/// Angles of one position for every pair of coordinates (i, i + head_dim / 2).
struct Rotation {
  std::vector<float> cosine, sine;
};

Rotation rotation_at(std::int64_t position, std::int64_t pairs) {
  Rotation r;
  for (std::int64_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * std::pow(kRopeBase, -static_cast<double>(i) / pairs);
    r.cosine.push_back(static_cast<float>(std::cos(angle)));
    r.sine.push_back(static_cast<float>(std::sin(angle)));
  }
  return r;
}

/// The pair whose wavelength is nearest to a sixth of the sequence.
std::int64_t periodic_pair(std::int64_t seqlen, std::int64_t pairs) {
  const double wavelength = std::max(8.0, static_cast<double>(seqlen) / 6);
  const double pair = std::log(wavelength / 6.283185307179586) / std::log(kRopeBase) * static_cast<double>(pairs);
  return std::min<std::int64_t>(pairs - 1, static_cast<std::int64_t>(std::lround(std::max(0.0, pair))));
}

/// The constant part of a query of this kind along one pair; keys have 1 along every pair but the slowest.
float query_bias(HeadKind kind, std::int64_t pair, std::int64_t pairs, std::int64_t periodic) {
  switch (kind) {
    case HeadKind::kNearby: return pair < pairs * 5 / 8 ? 2.5f : 0.0f;
    case HeadKind::kFirstKey: return pair == pairs - 1 ? 4.0f : 0.0f;
    case HeadKind::kPeriodic: return pair == periodic ? 36.0f : 0.0f;
    case HeadKind::kContent: break;
  }
  return 0.0f;
}

void store_rotated(const TensorView& tensor, std::int64_t row, const std::vector<float>& vector, const Rotation& r) {
  const auto pairs = static_cast<std::int64_t>(r.cosine.size());
  for (std::int64_t i = 0; i < pairs; ++i) {
    const auto u = static_cast<std::size_t>(i);
    const float a = vector[u], b = vector[u + r.cosine.size()];
    store_element(tensor.data, tensor.dtype, row * 2 * pairs + i, a * r.cosine[u] - b * r.sine[u]);
    store_element(tensor.data, tensor.dtype, row * 2 * pairs + pairs + i, a * r.sine[u] + b * r.cosine[u]);
  }
}

}  // namespace

const char* description_of(HeadKind kind) {
  switch (kind) {
    case HeadKind::kNearby: return "looks nearby";
    case HeadKind::kFirstKey: return "looks at the start";
    case HeadKind::kPeriodic: return "looks at a rhythm";
    case HeadKind::kContent: return "looks at content";
  }
  return "?";
}

void fill_like_a_model(CallData& data, std::uint64_t seed) {
  const AttentionTensors& t = data.tensors();
  const std::int64_t seqlen = t.q.shape[1], heads_q = t.q.shape[2], heads_kv = t.k.shape[2], dim = t.q.shape[3];
  const std::int64_t pairs = dim / 2, periodic = periodic_pair(seqlen, pairs);
  Random random(seed);
  std::vector<float> vector(static_cast<std::size_t>(dim));
  for (std::int64_t position = 0; position < seqlen; ++position) {
    const Rotation rotation = rotation_at(position, pairs);
    for (std::int64_t h = 0; h < heads_q; ++h) {
      for (float& x : vector) x = kContent * random.normal();
      for (std::int64_t i = 0; i < pairs; ++i) {
        vector[static_cast<std::size_t>(i)] += query_bias(kind_of_head(static_cast<int>(h)), i, pairs, periodic);
      }
      store_rotated(t.q, position * heads_q + h, vector, rotation);
    }
    for (std::int64_t h = 0; h < heads_kv; ++h) {
      for (float& x : vector) x = kContent * random.normal();
      for (std::int64_t i = 0; i < pairs - 1; ++i) vector[static_cast<std::size_t>(i)] += 1.0f;
      if (position == 0) vector[static_cast<std::size_t>(pairs - 1)] += kSink;
      store_rotated(t.k, position * heads_kv + h, vector, rotation);
    }
  }
  const std::int64_t values = seqlen * heads_kv * t.v.shape[3];
  for (std::int64_t i = 0; i < values; ++i) store_element(t.v.data, t.v.dtype, i, random.normal());
}

}  // namespace fovea::cli
