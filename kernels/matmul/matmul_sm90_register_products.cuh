// SPDX-License-Identifier: Apache-2.0
// Products of matmul_sm90 whose operand a lies with m contiguous and has 32 bits: wgmma would want k contiguous in
// shared memory, but takes a from registers too. A warp reads its 16 rows by 8 of k from panels of 32 rows (128 bytes,
// one line per k, as the copy engine brings and swizzles them): two neighbouring rows at once, from places that are in
// different banks for the 16 lanes that a read of 8 bytes serves together. So rows of the instruction are not
// neighbours in the tile: MatmulSm90::row_of. Two sets of registers: one is read while the products of the other run.
#pragma once

#include "kernels/matmul/matmul_sm90_products.cuh"

namespace fovea {

/// One warpgroup's a of half a stage, in registers.
template <MatmulConfig c>
struct RegisterFragments {
  using K = MatmulSm90<c>;
  static constexpr int kSteps = K::kSteps / 2;
  static constexpr int kStepBytes = 8 * 128;  // 8 of k
  unsigned x[kSteps][K::kBlocks][4];

  /// offset: of this thread's first two rows at k = lane % 4, in each block's panel.
  __device__ void load(unsigned stage, const unsigned (&offset)[K::kBlocks], int half) {
#pragma unroll
    for (int kk = 0; kk < kSteps; ++kk) {
#pragma unroll
      for (int i = 0; i < K::kBlocks; ++i) {
        const unsigned at = stage + offset[i], step = (half * kSteps + kk) * kStepBytes;
        const uint2 low = *static_cast<const uint2*>(__cvta_shared_to_generic(at + step));
        // Four lines on, where the swizzle exchanges the halves of a line.
        const uint2 high = *static_cast<const uint2*>(__cvta_shared_to_generic((at ^ 64) + step + 512));
        x[kk][i][0] = low.x, x[kk][i][1] = low.y, x[kk][i][2] = high.x, x[kk][i][3] = high.y;
      }
    }
  }

  /// sums += a b for this half of the stage, issued as a group.
  __device__ void multiply(unsigned long long b, int half, float (&sums)[K::kBlocks][K::kSums]) const {
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < kSteps; ++kk) {
#pragma unroll
      for (int i = 0; i < K::kBlocks; ++i)
        wgmma_m64k8_tf32_registers(sums[i], x[kk][i], b + ((half * kSteps + kk) * K::kStepB >> 4));
    }
    wgmma_commit_group();
  }
};

/// One warpgroup's rows of a tile, complete on return.
template <MatmulConfig c>
__device__ void consume_from_registers(const MatmulWork<c>& work, const MatmulSteps& steps, unsigned shared, int group,
                                       int thread, RingPlace<c.stages>& place,
                                       float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  clear<c>(sums);
  if (steps.begin == steps.end) return;
  unsigned offset[K::kBlocks];
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) {
    const int row = K::row_of(group, i, thread, 0), k = thread % 4;
    offset[i] = static_cast<unsigned>(row / 32 * 4096 + k * 128 + (row % 32 / 4 ^ k) * 16 + row % 4 * 4);
  }
  const unsigned long long b_descriptor = wgmma_descriptor(shared + K::kLayout.b, 8192, 1024);
  const auto a_of = [&](int stage) { return shared + K::kLayout.a + stage * K::kLayout.a_bytes; };
  const auto wait = [&] { mbarrier_wait(shared + K::kLayout.full + 8 * place.stage, place.parity); };
  RegisterFragments<c> first, second;  // halves of a stage
  wait();
  first.load(a_of(place.stage), offset, 0);
  unsigned last = 0;
#pragma unroll 1
  for (int step = steps.begin; step < steps.end; ++step) {
    const unsigned stage = a_of(place.stage);
    const unsigned long long b = b_descriptor + static_cast<unsigned>(place.stage * K::kLayout.b_bytes >> 4);
    first.multiply(b, 0, sums);
    wgmma_wait_group<1>();  // the stage before is free, and so is `second`
    if (step > steps.begin) release<c>(work, last, thread);
    second.load(stage, offset, 1);
    second.multiply(b, 1, sums);
    last = shared + K::kLayout.empty + 8 * place.stage;
    place.advance();
    if (step + 1 < steps.end) {
      wait();
      wgmma_wait_group<1>();  // `first` is free
      first.load(a_of(place.stage), offset, 0);
    }
  }
  wgmma_wait_group<0>();
#pragma unroll
  for (int i = 0; i < K::kBlocks; ++i) after_wait(sums[i]);
  release<c>(work, last, thread);
}

}  // namespace fovea
