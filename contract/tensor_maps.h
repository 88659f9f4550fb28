// SPDX-License-Identifier: Apache-2.0
// Descriptors of the bulk copy engine as kernel parameters. src/cuda/tensor_map.h makes them; a kernel only passes
// their address on, so it must take them as const __grid_constant__.
#pragma once

#include "contract/tile_divisors.h"

namespace fovea {

struct alignas(128) TensorMap {
  unsigned long long opaque[16];
};

/// What attention_forward_sm90 takes beside AttentionArgs. q: (batch, row groups' kv head or head, row, head within the
/// group, column), k and v: (batch, head, row, column); one copy is a panel of 64 columns, rows in swizzled lines of
/// 128 bytes. Columns past head_dim and rows past the tensor arrive as zeros.
struct ForwardSm90Args {
  TensorMap q, k, v;
  TensorMap o;  // as q, but 16 rows at a time; read only if the config says that o is copied
  /// Two counters, zero before and after every launch: tiles that blocks have taken beyond their first, and blocks that
  /// found no more. Null where every block has one tile.
  unsigned* tiles_taken = nullptr;
  unsigned num_tiles = 0;  // of all splits
  int tile_rows = 0;       // packed ones are whole queries
  TileDivisors divisors;
};

}  // namespace fovea
