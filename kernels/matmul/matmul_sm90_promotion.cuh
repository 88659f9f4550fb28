// SPDX-License-Identifier: Apache-2.0
// The sums of e4m3 in matmul_sm90. The tensor cores of Hopper keep some 14 bits of them, so a stage's products (128 of
// k) are summed apart, then scaled if need be and added to sums in fp32: docs/kernels/matmul_sm90.md has the errors.
#pragma once

#include "contract/matmul_args.h"
#include "contract/matmul_config.h"
#include "contract/matmul_sm90.h"
#include "kernels/block/matmul_scales.cuh"
#include "kernels/matmul/matmul_sm90_products.cuh"
#include "kernels/ptx/mbarrier.cuh"
#include "kernels/ptx/wgmma_group.cuh"

namespace fovea {

/// The scales of this thread's sums for one block of k.
template <MatmulConfig c>
struct ThreadScales {
  using K = MatmulSm90<c>;
  static constexpr bool kPerColumn = c.b_scale_lines == 1;
  static_assert(kPerColumn || kScaleBlock % c.block_n == 0, "the columns of a tile share a scale");
  BlockScales<c.a_scale_lines> of_a;
  BlockScales<c.b_scale_lines> of_b;
  int row, column;  // of the thread's first sum
  float a[K::kBlocks][2], b[kPerColumn ? K::kSums / 2 : 1];

  __device__ ThreadScales(const MatmulArgs& args, int batch, int first_row, int first_column)
      : of_a(args, args.a_scale, batch, args.m),
        of_b(args, args.b_scale, batch, args.n),
        row(first_row),
        column(first_column) {}
  __device__ void load(int block) {
#pragma unroll
    for (int i = 0; i < K::kBlocks; ++i) {
      a[i][0] = of_a.at(row + 64 * i, block);
      a[i][1] = c.a_scale_lines == 1 ? of_a.at(row + 64 * i + 8, block) : a[i][0];
    }
    if constexpr (kPerColumn) {
#pragma unroll
      for (int j = 0; j < K::kSums / 2; ++j) b[j] = of_b.at(column + j / 2 * 8 + j % 2, block);
    } else {
      b[0] = of_b.at(column, block);
    }
  }
  __device__ float at(int i, int sum) const { return a[i][sum / 2 % 2] * b[kPerColumn ? sum / 4 * 2 + sum % 2 : 0]; }
};
struct NoThreadScales {
  __device__ NoThreadScales(const MatmulArgs&, int, int, int) {}
  __device__ void load(int) {}
  __device__ float at(int, int) const { return 1.0f; }
};
template <bool has_scales, MatmulConfig c>
struct ScalesOf {
  using Type = NoThreadScales;
};
template <MatmulConfig c>
struct ScalesOf<true, c> {
  using Type = ThreadScales<c>;
};

/// What of a thread's sums is formed apart at a time: all of them, or half where two sets would take too many
/// registers (a block of 64 rows or, where there is one, half the columns). From 33 to 64 of them in two sets in turn:
/// the next stage's products run while a stage's sums are added. Elsewhere the other warpgroup's do, if there is one;
/// with fewer sums it costs more that a stage is given back later.
template <MatmulConfig c>
struct Promotion {
  using K = MatmulSm90<c>;
  static constexpr int kAll = K::kBlocks * K::kSums;
  // Numbers per column, or three warpgroups, leave no room for it.
  static constexpr bool kHasColumnScales = c.scale == ScaleKind::kPerBlock && c.b_scale_lines == 1;
  static constexpr bool kInTurn = kAll > 32 && kAll <= 64 && K::kWarpgroups < 3 && !kHasColumnScales;
  static constexpr int kParts = kAll > 96 ? 2 : 1;
  static constexpr int kBlocks = K::kBlocks > 1 ? K::kBlocks / kParts : 1;
  static constexpr int kColumns = K::kBlocks > 1 ? c.block_n : c.block_n / kParts;
};

/// Groups of products that a wait leaves.
template <int count>
struct Pending {};

/// The same of fp8: a stage is a block of 128 of k, whose sums are formed apart and then join the others in fp32.
template <MatmulConfig c>
__device__ void consume_promoting(const MatmulArgs& args, const MatmulWork<c>& work, const MatmulSteps& steps,
                                  unsigned shared, int group, int thread, int row, int column, int batch,
                                  RingPlace<c.stages>& place,
                                  float (&sums)[MatmulSm90<c>::kBlocks][MatmulSm90<c>::kSums]) {
  using K = MatmulSm90<c>;
  using P = Promotion<c>;
  using Part = float[P::kBlocks][P::kColumns / 2];
  static_assert(c.block_k == kScaleBlock, "a stage is a block of the scales");
  const int lane = thread % 32, warp = thread / 32;
  typename ScalesOf<kHasBlockScales<c>, c>::Type scales(
      args, batch, row + 64 * group * K::kBlocks + 16 * warp + lane / 4, column + 2 * (lane % 4));
  const auto wait_for_stage = [&] { mbarrier_wait(shared + K::kLayout.full + 8 * place.stage, place.parity); };
  const auto add = [&](const Part& part, int block, int first) {
#pragma unroll
    for (int i = 0; i < P::kBlocks; ++i) {
#pragma unroll
      for (int j = 0; j < P::kColumns / 2; ++j) {
        sums[block + i][first + j] += kHasBlockScales<c> ? scales.at(block + i, first + j) * part[i][j] : part[i][j];
      }
    }
  };
  clear<c>(sums);
  if constexpr (P::kInTurn) {
    RingPlace<c.stages> oldest = place;
    const auto begin = [&](Part& part) {
      wait_for_stage();
      multiply_part<c, true>(shared, group, place, 0, 0, part);
      place.advance();
    };
    const auto end = [&]<int pending>(Part& part, int step, Pending<pending>) {
      scales.load(step);
      wgmma_wait_group<pending>();
#pragma unroll
      for (int i = 0; i < P::kBlocks; ++i) after_wait(part[i]);
      release<c>(work, shared + K::kLayout.empty + 8 * oldest.stage, thread);
      oldest.advance();
      add(part, 0, 0);
    };
    if (steps.begin < steps.end) {
      Part even, odd;
      begin(even);
      int step = steps.begin;
#pragma unroll 1
      for (; step + 2 < steps.end; step += 2) {
        begin(odd);
        end(even, step, Pending<1>());
        begin(even);
        end(odd, step + 1, Pending<1>());
      }
      if (step + 1 < steps.end) {
        begin(odd);
        end(even, step, Pending<1>());
        end(odd, step + 1, Pending<0>());
      } else {
        end(even, step, Pending<0>());
      }
    }
  } else {
    if (steps.begin < steps.end) wait_for_stage();
#pragma unroll 1
    for (int step = steps.begin; step < steps.end; ++step) {
      const unsigned empty = shared + K::kLayout.empty + 8 * place.stage;
#pragma unroll
      for (int i = 0; i < P::kParts; ++i) {
        const int block = K::kBlocks > 1 ? i * P::kBlocks : 0, first = K::kBlocks > 1 ? 0 : i * P::kColumns;
        Part part;
        multiply_part<c, true>(shared, group, place, block, first, part);
        if (i == 0) scales.load(step);
        if (i == P::kParts - 1) {
          place.advance();
          if (step + 1 < steps.end) wait_for_stage();  // not between the end of these products and the next ones
        }
        wgmma_wait_group<0>();
#pragma unroll
        for (int j = 0; j < P::kBlocks; ++j) after_wait(part[j]);
        if (i == P::kParts - 1) release<c>(work, empty, thread);
        add(part, block, first / 2);
      }
    }
  }
  if constexpr (c.scale == ScaleKind::kPerTensor) {
    const float factor = tensor_scale(args);
#pragma unroll
    for (int i = 0; i < K::kBlocks; ++i) {
#pragma unroll
      for (int j = 0; j < K::kSums; ++j) sums[i][j] *= factor;
    }
  }
}

}  // namespace fovea
