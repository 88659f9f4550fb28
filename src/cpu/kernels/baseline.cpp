// SPDX-License-Identifier: Apache-2.0
// The unit of the baseline: any processor that GCC or clang has vectors for.
#include "cpu/kernels/kernels.h"
#include "cpu/simd/portable.h"

namespace fovea::cpu {
namespace baseline {
namespace {

constexpr int kVectors = 2, kWidth = 4, kUnroll = 1;  // 8 accumulators of 16 registers: products need temporaries
constexpr int kBlockKeys = 64, kMaxTiles = 8;
constexpr int kDecodeRows = 4, kDecodeVectors = 8;

#include "cpu/kernels/attention_work.inc"
//
#include "cpu/kernels/attention_scores.inc"
//
#include "cpu/kernels/attention_products.inc"
#include "cpu/kernels/attention_softmax.inc"
//
#include "cpu/kernels/attention_decode_state.inc"
//
#include "cpu/kernels/attention_decode_products.inc"
//
#include "cpu/kernels/attention_decode.inc"
//
#include "cpu/kernels/attention_forward.inc"
//
#include "cpu/kernels/attention_entry.inc"

constexpr Kernels kTable = {"baseline",        attention_tile,        attention_scratch_bytes,
                            attention_forward, attention_decode_rows, kTileRows};

}  // namespace
}  // namespace baseline

const Kernels& baseline_kernels() { return baseline::kTable; }

}  // namespace fovea::cpu
