// SPDX-License-Identifier: Apache-2.0
#include "matmul/cpu_configs.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/math.h"

namespace fovea {
namespace {

using cpu::MatmulKernels;

/// Sizes of blocks of `lines`, at most `most`, in whole tiles: few and large, but so that the threads end together.
int block_of(std::int64_t lines, int tile, std::int64_t most, std::int64_t batch, int threads) {
  const std::int64_t least_blocks = std::max<std::int64_t>(1, (lines + most - 1) / most);
  std::int64_t best = 0;
  double best_cost = 0;
  for (std::int64_t blocks = least_blocks; blocks <= least_blocks + 2 * threads; ++blocks) {
    const std::int64_t size = round_up(std::max<std::int64_t>(1, (lines + blocks - 1) / blocks), tile);
    const std::int64_t tasks = (lines + size - 1) / size * batch;
    const std::int64_t rounds = (tasks + threads - 1) / threads;
    // Lines that the busiest thread does, and a little for each task, which passes over the other operand once more.
    const double cost = static_cast<double>(rounds) * (static_cast<double>(size) + 0.25 * tile);
    if (best != 0 && cost >= 0.99 * best_cost) continue;
    best = size;
    best_cost = cost;
  }
  return static_cast<int>(best);
}

/// k in equal steps of at most `most`.
int step_of(int k, int most) {
  constexpr int kMultiple = 32;
  const int steps = std::max(1, ceil_div(k, most));
  return std::max(kMultiple, static_cast<int>(round_up(ceil_div(k, steps), kMultiple)));
}

/// Blocks where b is read from memory about once: wide ones of few rows of b, so that what is read lies together.
struct StreamingBlocks {
  int most_rows, block_n, k_bytes;
};

/// b packed.
constexpr StreamingBlocks kPackedStreams[] = {{6, 128, 2048}, {32, 1024, 256}, {128, 128, 2048}};
/// b where it lies. GFLOP/s with AVX-512 on Zen 4, b (4096, 4096) fp32 in memory on huge pages, here and packed: 1 row
/// 14 and 7.9, 4 rows 57 and 30, 6 rows 68 and 37, 16 rows 82 and 64, 64 rows 98 and 99; on small pages 64 rows 94
/// and 86.
/// One row is read along whole rows of b (small pages, GFLOP/s at 4096 x 4096, 1000 x 1024 and 11008 x 4096: 11.4, 34
/// and 12.5 instead of 8.9, 20 and 8.4).
constexpr StreamingBlocks kDirectStreams[] = {{1, 1 << 16, 64}, {4, 4096, 64}, {8, 1024, 128}, {96, 1024, 256}};
/// The same where b is row-major but must be converted: 14 GFLOP/s for 1 row of bf16 instead of 4.7. Once the tiles
/// convert b themselves, steps are short: what is converted is used from the first-level cache or near it (4096 x 4096
/// bf16 and fp16, % of peak, as here and with steps of 512 and 256: 16 rows 48 and 39, 73 and 54; 64 rows 70 and 66,
/// 77 and 76).
constexpr StreamingBlocks kConvertedStreams[] = {{5, 4096, 32}, {96, 512, 256}, {128, 256, 2048}};

/// Columns of b that are read where they lie, k contiguous: as a step of so many columns and elements of k.
constexpr int kLineColumns = 1024, kMostLineDepth = 1 << 15;

/// False if a has too many rows.
bool choose_streaming_blocks(MatmulConfig& config, int m, const MatmulKernels& kernels,
                             std::span<const StreamingBlocks> table) {
  for (const StreamingBlocks& x : table) {
    if (m > x.most_rows) continue;
    config.block_n = std::min(config.block_n, static_cast<int>(round_up(x.block_n, kernels.tile_columns)));
    if (config.scale != ScaleKind::kPerBlock)
      config.block_k = std::min(config.block_k, x.k_bytes / kernels.element_bytes);
    return true;
  }
  return false;
}

MatmulConfig config_of(const MatmulProblem& p) {
  MatmulConfig c;
  c.dtype = p.dtype;
  c.d_dtype = p.d_dtype;
  c.c_dtype = p.c_dtype;
  c.bias_dtype = p.bias_dtype;
  c.math = p.math;
  c.scale = p.scale;
  c.a_order = p.a_order;
  c.b_order = p.b_order;
  c.c_order = p.c_order;
  c.d_order = p.d_order;
  c.has_c = p.has_c;
  c.bias = p.has_bias ? BiasKind::kPerColumn : BiasKind::kNone;
  c.activation = p.activation;
  return c;
}

/// What the choice of blocks is made from.
struct Chooser {
  const MatmulKernels& kernels;
  const MatmulProblem& p;
  int threads;
  std::int64_t l2_bytes;

  std::int64_t m() const { return std::max(p.m, 1); }
  std::int64_t n() const { return std::max(p.n, 1); }
  static int whole(std::int64_t lines, int tile) {
    return static_cast<int>(std::min<std::int64_t>(round_up(lines, tile), 1 << 30));
  }
  /// Lines of one step that fill `bytes`.
  std::int64_t lines_in(std::int64_t bytes, const MatmulConfig& c, int tile) const {
    return std::max<std::int64_t>(tile, bytes / (std::int64_t{c.block_k} * kernels.element_bytes));
  }
  int columns_of(std::int64_t most) const { return block_of(n(), kernels.tile_columns, most, p.batch, threads); }
  bool has_rows_of_b() const { return p.b_order == MatrixOrder::kRowMajor; }

  /// What rows and columns below have in common.
  MatmulConfig base() const {
    MatmulConfig c = config_of(p);
    // Rows of a are read where they lie if k is contiguous: a register tile touches one cache line of each at a time,
    // and packing them took 2 to 5 % of a product of 256 to 2048 (AVX-512 on Zen 4).
    c.packs_a = !kernels.takes_rows_of_a || p.a_order != MatrixOrder::kRowMajor;
    c.packs_b = true;
    c.block_k = c.scale == ScaleKind::kPerBlock ? kScaleBlock : step_of(p.k, kernels.block_k);
    return c;
  }

  /// A row of tasks: each packs its columns of b.
  MatmulConfig columns() const {
    MatmulConfig c = base();
    c.block_m = whole(m(), kernels.tile_rows);
    const bool is_converted = has_rows_of_b() && !kernels.takes_rows_of_b;
    const int most = columns_of(lines_in(l2_bytes / 2, c, kernels.tile_columns));
    c.block_n = is_converted ? columns_of(kConvertedStreams[0].block_n) : most;
    const std::span<const StreamingBlocks> streams =
        is_converted ? std::span<const StreamingBlocks>(kConvertedStreams) : kPackedStreams;
    if (!choose_streaming_blocks(c, p.m, kernels, streams)) c.block_n = most;
    return c;
  }

  /// A task for each thread, of all rows and its share of the columns, whose panels of b the first rows' tiles form.
  /// k advances over the whole task, so that panels take block_k rows of b only. Columns that do not fill a thread's
  /// last panels are lost, so is_best only if they are few.
  MatmulConfig shares(bool* is_best) const {
    constexpr int kMostColumns = 4096;
    constexpr double kMostLoss = 1.03;
    // Fewer columns pass over a so fast that its pages had better be few (4096 x 64 x 4096: 10 % slower than rows());
    // short sums pass over d so fast that threads had better write to rows of their own (2048 x 2048 x 64: 20 %).
    constexpr int kLeastPanels = 4, kLeastDepth = 256;
    // One task a thread is as slow as the slowest thread: only where packing ahead costs more (512: 3 to 15 %).
    constexpr int kMostShared = 768;
    MatmulConfig c = base();
    c.block_m = whole(m(), kernels.tile_rows);
    c.block_n = columns_of(kMostColumns);
    const std::int64_t tasks = (n() + c.block_n - 1) / c.block_n * p.batch;
    const std::int64_t columns = (tasks + threads - 1) / threads * c.block_n;  // of the busiest thread
    const std::int64_t whole_columns = round_up(n(), kernels.tile_columns) * p.batch;
    *is_best = (threads == 1 || (p.k >= kLeastDepth && p.n <= kMostShared)) &&
               c.block_n >= kLeastPanels * kernels.tile_columns &&
               static_cast<double>(columns * threads) <= kMostLoss * static_cast<double>(whole_columns);
    return c;
  }

  /// A column of tasks: each reads, or packs, its rows of a.
  MatmulConfig rows() const {
    MatmulConfig c = base();
    c.block_n = whole(n(), kernels.tile_columns);
    c.block_m = block_of(m(), kernels.tile_rows, lines_in(l2_bytes * 3 / 8, c, kernels.tile_rows), p.batch, threads);
    return c;
  }

  /// b read where it lies, as a variant of `best`; is_best tells whether that is the better guess.
  MatmulConfig direct(const MatmulConfig& best, bool* is_best) const {
    MatmulConfig c = best;
    c.packs_b = false;
    // A b that stays in the L2 cache, with rows that share pages, need not be packed (256: 96.8 % of peak instead of
    // 94.6; 2048 columns of 64: 86 instead of 91).
    // One panel of columns is read from lines that stay cached however long k is (64 x 64 x 2832: 7 % faster).
    const bool fits = n() < 512 && n() * std::max(p.k, 1) * kernels.element_bytes <= l2_bytes * 5 / 8;
    *is_best = fits || (n() <= kernels.tile_columns && m() >= n());
    if (*is_best || n() <= m()) return c;
    MatmulConfig stream = base();
    stream.packs_b = false;
    stream.block_m = whole(m(), kernels.tile_rows);
    stream.block_n = columns_of(kDirectStreams[p.m == 1 ? 0 : 1].block_n);
    *is_best = choose_streaming_blocks(stream, p.m, kernels, kDirectStreams);
    return *is_best ? stream : c;
  }

  /// Few rows of a times columns of b where they lie, all of k at once: columns need no packing, but sums need adding
  /// up over lanes. GFLOP/s with AVX-512 on Zen 4, so and packed: fp32 1 x 4096 x 4096 11.9 and 5.7, 16 rows 65 and 60,
  /// 32 rows 80 and 60, 64 x 1024 x 1024 80 and 89; bf16 25 and 14, 132 and 130, 125 and 154; 16 x 2048 x 64 59 and 82.
  bool takes_lines() const {
    const int most_rows = kernels.depth == 1 ? 32 : kernels.depth == 2 ? 24 : 8;
    const int depth_per_row = kernels.depth == 1 ? 10 : 20;
    return p.a_order == MatrixOrder::kRowMajor && p.b_order == MatrixOrder::kColumnMajor && p.m <= most_rows &&
           p.k >= depth_per_row * p.m;
  }
  MatmulConfig lines() const {
    MatmulConfig c = base();
    c.packs_a = c.packs_b = false;
    c.block_m = whole(m(), kernels.tile_rows);
    c.block_n = columns_of(kLineColumns);
    if (c.scale != ScaleKind::kPerBlock) c.block_k = std::min(whole(std::max(p.k, 1), kernels.depth), kMostLineDepth);
    return c;
  }
};

}  // namespace

bool wants_transposed(const MatmulProblem& p) { return p.d_order == MatrixOrder::kColumnMajor; }

std::vector<MatmulConfig> cpu_matmul_configs(const MatmulKernels& kernels, const MatmulProblem& p,
                                             const DeviceInfo& device) {
  constexpr std::int64_t kUsualL2Bytes = 512 << 10;
  const Chooser chooser = {kernels, p, std::max(1, device.num_threads),
                           device.l2_bytes > 0 ? device.l2_bytes : kUsualL2Bytes};
  std::vector<MatmulConfig> found;
  const auto add = [&found](const MatmulConfig& c) {
    if (std::find(found.begin(), found.end(), c) == found.end()) found.push_back(c);
  };
  const MatmulConfig columns = chooser.columns(), rows = chooser.rows();
  // With many rows packing b ahead costs little, and a task's rows of a stay on few pages (2048, small pages: 111
  // GFLOP/s instead of 106).
  constexpr int kManyRows = 1024;
  MatmulConfig best = p.m >= p.n || p.m >= kManyRows ? rows : columns;
  if (best == rows && kernels.packs_rows_of_b && chooser.has_rows_of_b() && !best.packs_a) {
    bool is_best = false;
    const MatmulConfig shares = chooser.shares(&is_best);
    if (is_best) best = shares;
  }
  if (kernels.takes_rows_of_b && chooser.has_rows_of_b()) {
    bool is_best = false;
    const MatmulConfig direct = chooser.direct(best, &is_best);
    add(is_best ? direct : best);
    add(best);
    add(direct);
  }
  if (chooser.takes_lines()) add(chooser.lines());
  // The rest is for the tuner.
  for (const MatmulConfig& c : {best, columns, rows}) add(c);
  for (MatmulConfig c : {columns, rows}) {
    c.packs_a = true;
    add(c);
  }
  MatmulConfig shallow = found.front();
  if (p.scale != ScaleKind::kPerBlock) shallow.block_k = std::min(shallow.block_k, step_of(p.k, kernels.block_k / 2));
  add(shallow);
  return found;
}

}  // namespace fovea
