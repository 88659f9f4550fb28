// SPDX-License-Identifier: Apache-2.0
// The unit of AVX-512 with BF16: bf16 by vdpbf16ps, twice the rate of fp32 where the processor issues two per cycle
// (AMD Zen 4, Zen 5). Intel's issue one, half the rate of its fp32 after conversion. Other types are the
// AVX-512 unit's.
#if defined(__x86_64__)
#include "cpu/kernels/kernels.h"
#include "cpu/simd/avx512.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::avx512bf16 {
namespace {

using namespace avx512;

constexpr int kVectors = 2, kWidth = 8, kUnroll = 4;  // 16 accumulators: latency 6 at two per cycle needs 12
constexpr int kBlockKeys = 128, kMaxTiles = 16;       // as the AVX-512 unit, which shares the scratch
constexpr int kDecodeRows = 16, kDecodeVectors = 16;

#include "cpu/kernels/attention_work.inc"
//
#include "cpu/kernels/attention_scores.inc"
//
#include "cpu/kernels/attention_pairs.inc"
//
#include "cpu/kernels/attention_decode_state.inc"
//
#include "cpu/kernels/attention_decode_pairs.inc"
//
#include "cpu/kernels/attention_decode.inc"
//
#include "cpu/kernels/attention_forward.inc"

static void attention_forward(const AttentionArgs& args, const AttentionConfig& config, const AttentionTask& task,
                              void* scratch) {
  const Work w = work_of(args, task);
  if (config.dtype != DType::kBF16 || args.softmax_scale == 0.0f) {
    return avx512_kernels().attention_forward(args, config, task, scratch);
  }
  forward_rows<Bfloat16>(w, config, scratch);
}

constexpr Kernels kTable = {"avx512bf16",      attention_tile,        attention_scratch_bytes,
                            attention_forward, attention_decode_rows, kTileRows};

}  // namespace
}  // namespace fovea::cpu::avx512bf16
FOVEA_ISA_END

namespace fovea::cpu {
const Kernels& avx512bf16_kernels() { return avx512bf16::kTable; }
}  // namespace fovea::cpu
#endif  // __x86_64__
