// SPDX-License-Identifier: Apache-2.0
#include "matmul/cpu_schedule.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/math.h"
#include "contract/dtype.h"
#include "matmul/cpu_parts.h"

namespace fovea {
namespace {

using cpu::MatmulBlock;
using cpu::MatmulFinish;
using cpu::MatmulKernels;
using cpu::MatmulLines;

// What is packed ahead of the tasks may take this much memory at a time; larger products are cut.
constexpr std::int64_t kAheadBytes = std::int64_t{256} << 20;

/// True if rows of a and columns of b are multiplied where they lie.
bool takes_lines(const MatmulArgs& args, const MatmulConfig& config) {
  return !config.packs_a && !config.packs_b && args.a.stride_col == 1 && args.b.stride_row == 1;
}

/// One call, cut into blocks.
class Product {
 public:
  Product(const MatmulKernels& kernels, const MatmulArgs& args, const MatmulConfig& config)
      : kernels_(kernels), args_(args), config_(config) {
    blocks_m_ = ceil_div(args.m, config.block_m);
    blocks_n_ = ceil_div(args.n, config.block_n);
    blocks_k_ = std::max(1, ceil_div(args.k, config.block_k));
    packs_a_ahead_ = config.packs_a && blocks_n_ > 1;
    packs_b_ahead_ = config.packs_b && blocks_m_ > 1;
    is_scaled_ = config.scale == ScaleKind::kPerBlock;
    takes_lines_ = takes_lines(args, config);
    copies_a_ = is_shared(args.a) ? 1 : args.batch;
    copies_b_ = is_shared(args.b) ? 1 : args.batch;
    // Sums of fp32 that need nothing done to them are formed in d itself.
    is_plain_ = config.d_dtype == DType::kF32 && args.d_stride_col == 1 && args.alpha == 1.0f && !config.has_c &&
                config.bias == BiasKind::kNone && config.activation == Activation::kNone;
  }

  std::int64_t num_tasks() const { return std::int64_t{args_.batch} * blocks_m_ * blocks_n_; }
  std::int64_t ahead_a_bytes() const { return packs_a_ahead_ ? copies_a_ * operand_bytes(true) : 0; }
  std::int64_t ahead_b_bytes() const { return packs_b_ahead_ ? copies_b_ * operand_bytes(false) : 0; }

  /// Packing what several tasks use, cut into pieces of a block of lines and a block of k.
  std::int64_t num_pieces_a() const {
    return packs_a_ahead_ ? std::int64_t{copies_a_} * blocks_k_ * ceil_div(args_.m, piece_lines(true)) : 0;
  }
  std::int64_t num_pieces_b() const {
    return packs_b_ahead_ ? std::int64_t{copies_b_} * blocks_k_ * ceil_div(args_.n, piece_lines(false)) : 0;
  }
  void pack_piece_a(std::int64_t piece, char* ahead) const { pack_piece(true, piece, ahead); }
  void pack_piece_b(std::int64_t piece, char* ahead) const { pack_piece(false, piece, ahead); }

  std::int64_t scratch_bytes() const { return a_bytes() + b_bytes() + sums_bytes() + block_bytes(); }
  void run_task(std::int64_t task, const char* ahead_a, const char* ahead_b, char* scratch) const;

 private:
  static bool is_shared(const MatrixArgs& x) {
    return std::all_of(x.stride_batch, x.stride_batch + kMatmulBatchDims, [](Int64 s) { return s == 0; });
  }

  /// Without divisions where there is one product: they are 10 ns of a call.
  Int64 offset_of(const Int64 (&stride)[kMatmulBatchDims], int batch) const {
    return batch == 0 ? 0 : batch_offset(args_, stride, batch);
  }
  int depth_at(int step) const { return std::min(config_.block_k, args_.k - step * config_.block_k); }
  int tile(bool of_a) const { return of_a ? kernels_.tile_rows : kernels_.tile_columns; }
  Int64 packed_bytes(bool of_a, int lines, int k) const {
    return of_a ? kernels_.packed_a_bytes(lines, k) : kernels_.packed_b_bytes(lines, k);
  }
  /// One matrix, all steps of k.
  Int64 operand_bytes(bool of_a) const {
    const int lines = of_a ? args_.m : args_.n;
    return (blocks_k_ - 1) * packed_bytes(of_a, lines, config_.block_k) +
           packed_bytes(of_a, lines, depth_at(blocks_k_ - 1));
  }
  /// Lines [line, ...) of step `step` in what was packed ahead; line is a multiple of the tile.
  Int64 ahead_offset(bool of_a, int batch, int step, int line) const {
    const Int64 matrix = (of_a ? copies_a_ : copies_b_) == 1 ? 0 : batch * operand_bytes(of_a);
    return matrix + step * packed_bytes(of_a, of_a ? args_.m : args_.n, config_.block_k) +
           packed_bytes(of_a, line, depth_at(step));
  }
  int piece_lines(bool of_a) const {
    constexpr int kLines = 96;  // enough for a run of memory, little enough to share out
    return std::max(1, kLines / tile(of_a)) * tile(of_a);
  }

  MatmulLines lines_of(bool of_a, int batch, int step, int line, int count) const {
    const MatrixArgs& x = of_a ? args_.a : args_.b;
    const Int64 stride_line = of_a ? x.stride_row : x.stride_col, stride_k = of_a ? x.stride_col : x.stride_row;
    const Int64 at =
        offset_of(x.stride_batch, batch) + line * stride_line + static_cast<Int64>(step) * config_.block_k * stride_k;
    return {element_at(x.data, at, config_.dtype), stride_line, stride_k, count, depth_at(step)};
  }

  void pack_piece(bool of_a, std::int64_t piece, char* ahead) const {
    const int lines = of_a ? args_.m : args_.n, size = piece_lines(of_a), pieces = ceil_div(lines, size);
    const int line = static_cast<int>(piece % pieces) * size;
    const auto step = static_cast<int>(piece / pieces % blocks_k_);
    const auto batch = static_cast<int>(piece / pieces / blocks_k_);
    const auto pack = of_a ? kernels_.pack_a : kernels_.pack_b;
    pack(lines_of(of_a, batch, step, line, std::min(size, lines - line)),
         ahead + ahead_offset(of_a, batch, step, line));
  }

  bool packs_a_in_task() const { return config_.packs_a && !packs_a_ahead_; }
  bool packs_b_in_task() const { return config_.packs_b && !packs_b_ahead_; }
  Int64 a_bytes() const {
    if (!config_.packs_a && kernels_.converts_rows_of_a && !takes_lines_) {
      return round_up(packed_bytes(true, 1, max_depth()), 64);
    }
    return packs_a_in_task() ? round_up(packed_bytes(true, std::min(config_.block_m, args_.m), max_depth()), 64) : 0;
  }
  Int64 b_bytes() const {  // unpacked b still needs a panel for columns that do not fill one
    const int columns = packs_b_in_task()                      ? std::min(config_.block_n, args_.n)
                        : args_.n % kernels_.tile_columns == 0 ? 0
                                                               : kernels_.tile_columns;
    return takes_lines_ || (config_.packs_b && packs_b_ahead_)
               ? 0
               : round_up(packed_bytes(false, columns, max_depth()), 64);
  }
  int max_depth() const { return std::min(config_.block_k, args_.k); }
  Int64 sums_stride() const { return round_up(std::min(config_.block_n, args_.n), 16); }
  Int64 sums_bytes() const {
    return is_plain_ || (blocks_k_ == 1 && !is_scaled_)
               ? 0
               : sums_stride() * std::min(config_.block_m, args_.m) * Int64{sizeof(float)};
  }

  /// Where sums of one block of k wait for their scales, and the scales of a row of them.
  Int64 block_bytes() const {
    if (!is_scaled_) return 0;
    return sums_stride() * (std::min(config_.block_m, args_.m) + 1) * Int64{sizeof(float)};
  }

  void run_scaled(MatmulBlock block, int batch, const MatmulFinish& finish, const char* ahead_a, const char* ahead_b,
                  char* scratch) const;
  void add_scaled(const MatmulBlock& block, int batch, int step, const float* block_sums, float* row_scales) const;
  void multiply_step(MatmulBlock& block, int batch, int step, const char* ahead_a, const char* ahead_b,
                     char* scratch) const;
  void look_ahead(MatmulBlock& block, int batch, int step) const;

  const MatmulKernels& kernels_;
  const MatmulArgs& args_;
  const MatmulConfig& config_;
  int blocks_m_, blocks_n_, blocks_k_;
  int copies_a_, copies_b_;
  bool packs_a_ahead_, packs_b_ahead_, takes_lines_, is_plain_, is_scaled_;
};

/// The memory that the task packs in its next step, or reads once where it lies.
void Product::look_ahead(MatmulBlock& block, int batch, int step) const {
  constexpr int kFewRows = 128;
  constexpr Int64 kStaysCached = 12 << 20;  // one row passes over b faster than anything can be fetched from the L3
  const bool streams_b = !config_.packs_b && block.m <= kFewRows &&
                         (args_.m > 1 || Int64{args_.n} * args_.k * kernels_.element_bytes > kStaysCached);
  if (step + 1 >= blocks_k_ || (!packs_a_in_task() && !packs_b_in_task() && !streams_b)) return;
  const bool of_a = packs_a_in_task() && !streams_b;
  const MatmulLines next = lines_of(of_a, batch, step + 1, of_a ? block.row : block.column, of_a ? block.m : block.n);
  const auto element = static_cast<Int64>(size_bytes(config_.dtype));
  const auto* data = static_cast<const char*>(next.data);
  if (next.stride_k == 1)
    block.ahead = {data, next.stride_line * element, next.lines, static_cast<int>(next.k * element)};
  if (next.stride_line == 1)
    block.ahead = {data, next.stride_k * element, next.k, static_cast<int>(next.lines * element)};
}

/// block has its place, sums and finish; the rest is set.
void Product::multiply_step(MatmulBlock& block, int batch, int step, const char* ahead_a, const char* ahead_b,
                            char* scratch) const {
  block.k = depth_at(step);
  block.ahead = {};
  look_ahead(block, batch, step);
  const MatmulLines a = lines_of(true, batch, step, block.row, block.m);
  const MatmulLines b = lines_of(false, batch, step, block.column, block.n);
  char* const b_scratch = scratch + a_bytes();
  block.a = a.data;
  block.a_stride = a.stride_line;
  block.a_room = scratch;
  if (config_.packs_a) {
    block.a_stride = 0;
    block.a = packs_a_ahead_ ? ahead_a + ahead_offset(true, batch, step, block.row) : scratch;
    if (!packs_a_ahead_) kernels_.pack_a(a, scratch);
  }
  if (config_.packs_b) {
    block.b_stride = 0;
    block.b = packs_b_ahead_ ? ahead_b + ahead_offset(false, batch, step, block.column) : b_scratch;
    if (kernels_.packs_rows_of_b && !packs_b_ahead_ && block.rows_outer && b.stride_line == 1) {
      block.b_rows = b.data;
      block.b_rows_stride = b.stride_k;
    } else if (!packs_b_ahead_) {
      kernels_.pack_b(b, b_scratch);
    }
    kernels_.multiply(block);
    return;
  }
  if (takes_lines_) {
    block.b = b.data;
    block.b_stride = b.stride_line;
    kernels_.multiply_lines(block);
    return;
  }
  // Whole panels from the caller's rows; what is left of the columns through a panel, which has zeros behind them.
  const int whole = block.n / kernels_.tile_columns * kernels_.tile_columns, rest = block.n - whole;
  block.b = b.data;
  block.b_stride = b.stride_k;
  if (rest == 0) return kernels_.multiply(block);
  MatmulBlock part = block;
  part.n = whole;
  if (whole > 0) kernels_.multiply(part);
  kernels_.pack_b(lines_of(false, batch, step, block.column + whole, rest), b_scratch);
  part.b = b_scratch;
  part.b_stride = 0;
  part.n = rest;
  part.column += whole;
  part.ahead = {};
  if (part.sums) part.sums += whole;
  kernels_.multiply(part);
}

/// block.sums += (or =, in the first step) what one step of k gave, times its scales. row_scales: those of the columns.
void Product::add_scaled(const MatmulBlock& block, int batch, int step, const float* block_sums,
                         float* row_scales) const {
  const auto scale_at = [&](const ScaleArgs& scale, int line, int lines) {
    return scale.data[batch_offset(args_, scale.stride_batch, batch) + line / lines * scale.stride_line +
                      step * scale.stride_k];
  };
  for (int j = 0; j < block.n; ++j) {
    row_scales[j] = args_.k > 0 ? scale_at(args_.b_scale, block.column + j, config_.b_scale_lines) : 1.0f;
  }
  for (int i = 0; i < block.m; ++i) {
    const float of_row = args_.k > 0 ? scale_at(args_.a_scale, block.row + i, config_.a_scale_lines) : 1.0f;
    const float* from = block_sums + i * sums_stride();
    float* to = block.sums + i * block.sums_stride;
    if (step == 0) {
      for (int j = 0; j < block.n; ++j) to[j] = of_row * row_scales[j] * from[j];
    } else {
      for (int j = 0; j < block.n; ++j) to[j] += of_row * row_scales[j] * from[j];
    }
  }
}

/// Every step of k is a block of the scales: its sums are formed apart.
void Product::run_scaled(MatmulBlock block, int batch, const MatmulFinish& finish, const char* ahead_a,
                         const char* ahead_b, char* scratch) const {
  auto* const row_scales = reinterpret_cast<float*>(scratch + a_bytes() + b_bytes() + sums_bytes());
  MatmulBlock part = block;
  part.sums = row_scales + sums_stride();
  part.sums_stride = sums_stride();
  for (int step = 0; step < blocks_k_; ++step) {
    multiply_step(part, batch, step, ahead_a, ahead_b, scratch);
    add_scaled(block, batch, step, part.sums, row_scales);
  }
  if (is_plain_) return;
  block.adds = true;  // no products any more: what is there is finished
  block.finish = &finish;
  block.a = block.b = scratch;
  kernels_.multiply(block);
}

void Product::run_task(std::int64_t task, const char* ahead_a, const char* ahead_b, char* scratch) const {
  const std::int64_t blocks = std::int64_t{blocks_m_} * blocks_n_;
  const auto batch = static_cast<int>(args_.batch == 1 ? 0 : task / blocks);
  const auto within = static_cast<int>(task - batch * blocks);
  MatmulBlock block = {};
  block.row = within / blocks_n_ * config_.block_m;
  block.column = within % blocks_n_ * config_.block_n;
  block.m = std::min(config_.block_m, args_.m - block.row);
  block.n = std::min(config_.block_n, args_.n - block.column);
  block.rows_outer = !packs_a_in_task();
  const MatmulFinish finish = {&args_, &config_, offset_of(args_.d_stride_batch, batch),
                               offset_of(args_.c.stride_batch, batch)};
  if (is_plain_) {
    block.sums = static_cast<float*>(args_.d) + finish.d_offset + block.row * args_.d_stride_row + block.column;
    block.sums_stride = args_.d_stride_row;
  } else if (blocks_k_ > 1 || is_scaled_) {
    block.sums = reinterpret_cast<float*>(scratch + a_bytes() + b_bytes());
    block.sums_stride = sums_stride();
  }
  if (is_scaled_) {
    run_scaled(block, batch, finish, ahead_a, ahead_b, scratch);
    return;
  }
  for (int step = 0; step < blocks_k_; ++step) {
    block.adds = step > 0;
    block.finish = !is_plain_ && step == blocks_k_ - 1 ? &finish : nullptr;
    multiply_step(block, batch, step, ahead_a, ahead_b, scratch);
  }
}

/// Threads for which there is enough to do, by a rough estimate of the time: it decides about microseconds only.
int useful_threads(const MatmulArgs& args, int num_threads) {
  constexpr double kFlopsPerSecond = 1e11;    // of one thread
  constexpr double kSecondsPerThread = 5e-6;  // what waking one that spins, and sharing, must be worth
  const double seconds = 2.0 * args.m * args.n * args.k * args.batch / kFlopsPerSecond;
  return static_cast<int>(std::clamp(seconds / kSecondsPerThread, 1.0, static_cast<double>(num_threads)));
}

void run_product(cpu::ThreadPool& pool, const Product& product, int threads) {
  std::optional<cpu::ThreadPool::Lease> lease_a, lease_b;
  const auto reserve = [&pool](std::optional<cpu::ThreadPool::Lease>& lease, std::int64_t bytes) -> char* {
    if (bytes == 0) return nullptr;
    return static_cast<char*>(lease.emplace(pool).scratch().reserve(static_cast<std::size_t>(bytes)));
  };
  char* const ahead_a = reserve(lease_a, product.ahead_a_bytes());
  char* const ahead_b = reserve(lease_b, product.ahead_b_bytes());
  const std::int64_t pieces_a = product.num_pieces_a(), pieces_b = product.num_pieces_b();
  if (pieces_a + pieces_b > 0) {
    pool.run(
        pieces_a + pieces_b,
        [&](std::int64_t piece, cpu::Scratch&) {
          piece < pieces_a ? product.pack_piece_a(piece, ahead_a) : product.pack_piece_b(piece - pieces_a, ahead_b);
        },
        threads);
  }
  const auto scratch_bytes = static_cast<std::size_t>(product.scratch_bytes());
  if (product.num_tasks() == 1 && scratch_bytes == 0) return product.run_task(0, ahead_a, ahead_b, nullptr);
  pool.run(
      product.num_tasks(),
      [&](std::int64_t task, cpu::Scratch& scratch) {
        product.run_task(task, ahead_a, ahead_b, static_cast<char*>(scratch.reserve(scratch_bytes)));
      },
      threads);
}

}  // namespace

void run_cpu_matmul(cpu::ThreadPool& pool, const cpu::MatmulKernels& kernels, const MatmulArgs& args,
                    const MatmulConfig& planned) {
  if (args.batch == 0 || args.m == 0 || args.n == 0) return;
  MatmulConfig config = planned;
  if (args.k % kernels.depth != 0 && !takes_lines(args, config)) config.packs_a = true;  // half a pair
  const Product product(kernels, args, config);
  if (product.ahead_a_bytes() + product.ahead_b_bytes() <= kAheadBytes) {
    run_product(pool, product, useful_threads(args, pool.num_threads()));
    return;
  }
  if (args.batch > 1) {
    for (int i = 0; i < args.batch; ++i) run_cpu_matmul(pool, kernels, product_at(args, config, i), config);
    return;
  }
  const bool cuts_rows = product.ahead_a_bytes() >= product.ahead_b_bytes();
  const int lines = cuts_rows ? args.m : args.n, block = cuts_rows ? config.block_m : config.block_n;
  const int unit = config.scale == ScaleKind::kPerBlock ? kScaleBlock
                   : lines > block                      ? block
                   : cuts_rows                          ? kernels.tile_rows
                                                        : kernels.tile_columns;
  const auto half = static_cast<int>(std::min<std::int64_t>(lines, round_up(lines / 2, unit)));
  if (half == 0 || half == lines) {
    run_product(pool, product, useful_threads(args, pool.num_threads()));
    return;
  }
  const auto part = cuts_rows ? rows_from : columns_from;
  run_cpu_matmul(pool, kernels, part(args, config, 0, half), config);
  run_cpu_matmul(pool, kernels, part(args, config, half, lines - half), config);
}

}  // namespace fovea
