// SPDX-License-Identifier: Apache-2.0
// Softmax over keys that arrive block by block (arXiv 2205.14135), on accumulator fragments of 16-row tiles.
// The maximum is allowed to be stale: rows are rescaled only when a score exceeds it by more than kStaleLog2, so
// weights stay below 2^8 and the common path has one vote and no shuffle. Lane l holds rows l / 4 and l / 4 + 8 of each
// tile.
#pragma once

#include "contract/dtype.h"
#include "kernels/block/warp_reduce.cuh"
#include "kernels/ptx/math.cuh"

namespace fovea {

template <int row_tiles>
struct OnlineSoftmax {
  static constexpr float kStaleLog2 = 8.0f;   // 2^8 times the row sum of a block fits fp16; measured worth 5 %
  static constexpr float kLowest = -3.0e38f;  // finite: a row of masked scores gives weights 2^-inf = 0, not NaN
  float max_log2[row_tiles][2];               // of scores * scale_log2, common to the four lanes of a row
  float sum[row_tiles][2];                    // of the weights in this lane's columns

  __device__ void reset() {
#pragma unroll
    for (int m = 0; m < row_tiles; ++m) {
      max_log2[m][0] = max_log2[m][1] = kLowest;
      sum[m][0] = sum[m][1] = 0.0f;
    }
  }

  /// This lane's largest score of each row, and whether some row of the warp must be raised for them.
  template <int step_tiles>
  __device__ bool outgrown(const float (&s)[row_tiles][step_tiles][4], float scale_log2,
                           float (&largest)[row_tiles][2]) const {
    bool grows = false;
#pragma unroll
    for (int m = 0; m < row_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        largest[m][r] = fmaxf(s[m][0][2 * r], s[m][0][2 * r + 1]);
#pragma unroll
        for (int n = 1; n < step_tiles; ++n) {
          largest[m][r] = fmaxf(largest[m][r], fmaxf(s[m][n][2 * r], s[m][n][2 * r + 1]));
        }
        grows |= fmaf(largest[m][r], scale_log2, -kStaleLog2) > max_log2[m][r];
      }
    }
    return __any_sync(kWholeWarp, grows);
  }

  /// Raises the maxima to those of the new scores; factor: what o must be multiplied by.
  __device__ void raise(const float (&largest)[row_tiles][2], float scale_log2, float (&factor)[row_tiles][2]) {
#pragma unroll
    for (int m = 0; m < row_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float raised = fmaxf(max_log2[m][r], lanes_max<4>(largest[m][r]) * scale_log2);
        // Never 0: an infinite o must stay infinite, and 2^-126 of a finite one is nothing.
        factor[m][r] = fmaxf(ex2_approx(max_log2[m][r] - raised), 0x1p-126f);
        max_log2[m][r] = raised;
        sum[m][r] *= factor[m][r];
      }
    }
  }

  template <int value_tiles>
  __device__ static void rescale(float (&o)[row_tiles][value_tiles][4], const float (&factor)[row_tiles][2]) {
#pragma unroll
    for (int m = 0; m < row_tiles; ++m) {
#pragma unroll
      for (int n = 0; n < value_tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) o[m][n][i] *= factor[m][i / 2];
      }
    }
  }

  /// Raises the maximum to that of the new scores where it must be, and rescales o and sum to it.
  template <int step_tiles, int value_tiles>
  __device__ void admit(const float (&s)[row_tiles][step_tiles][4], float scale_log2,
                        float (&o)[row_tiles][value_tiles][4]) {
    float largest[row_tiles][2], factor[row_tiles][2];
    if (outgrown(s, scale_log2, largest)) {
      raise(largest, scale_log2, factor);
      rescale(o, factor);
    }
  }

  /// Scores to weights in place, counted into the rows' sums in two chains.
  template <int step_tiles>
  __device__ void weigh(float (&s)[row_tiles][step_tiles][4], float scale_log2) {
#pragma unroll
    for (int m = 0; m < row_tiles; ++m) {
      float part[4] = {};
#pragma unroll
      for (int n = 0; n < step_tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          s[m][n][i] = ex2_approx(fmaf(s[m][n][i], scale_log2, -max_log2[m][i / 2]));
          part[i] += s[m][n][i];
        }
      }
      sum[m][0] += part[0] + part[1];
      sum[m][1] += part[2] + part[3];
    }
  }

  /// The weight of one score of row tile m, row r, counted into the row's sum.
  __device__ float weigh(float s, float scale_log2, int m, int r) {
    const float p = ex2_approx(fmaf(s, scale_log2, -max_log2[m][r]));
    sum[m][r] += p;
    return p;
  }
};

}  // namespace fovea
