// SPDX-License-Identifier: Apache-2.0
// What the number of a tile of attention is divided by, prepared by the host (kernels/block/forward_work.cuh): ten
// divisions one after another cost a microsecond before the first copy.
#pragma once

#include "contract/divisor.h"

namespace fovea {

enum class TilePart { kHeadsKv, kRows, kSplits, kTilesOfSection, kSection, kLastSection, kTiles, kHeads, kHeadsPerKv };

struct TileDivisors {
  Divisor by[9];  // by TilePart
};

}  // namespace fovea
