// SPDX-License-Identifier: Apache-2.0
// Products of warpgroups. docs.nvidia.com/cuda/parallel-thread-execution, "wgmma", "matrix-descriptor", "Asynchronous
// Warpgroup Level Matrix Shared Memory Layout".
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/emulated_gpu/engine/launch.h"
#include "tests/emulated_gpu/engine/numbers.h"

namespace fovea::emulated {
namespace {

constexpr int kRows = 64, kMostDepth = 32, kMostColumns = 256;
constexpr unsigned kDepthBytes = 32;  // of k
using Fibers = Fiber* [kWarpgroup];

/// An operand in shared memory: `outer` runs along m or n, k along the product.
class Operand {
 public:
  Operand(Block& block, unsigned long long descriptor, Number number, bool is_mn_major)
      : shared_(block.fibers.front().shared),
        begin_(block.fibers.front().shared_begin),
        end_(block.fibers.front().shared_end),
        start_(static_cast<unsigned>(descriptor & 0x3fff) << 4),
        leading_(static_cast<unsigned>(descriptor >> 16 & 0x3fff) << 4),
        stride_(static_cast<unsigned>(descriptor >> 32 & 0x3fff) << 4),
        bytes_(bytes_of(number)),
        is_mn_major_(is_mn_major) {
    if (is_mn_major && bytes_ != 2) fail("wgmma: only elements of 16 bits may lie with k as rows");
    if (descriptor >> 49 & 7) fail("wgmma: a descriptor with a base offset, which is not emulated");
    const unsigned mode = static_cast<unsigned>(descriptor >> 62);  // 0 none, 1 128, 2 64, 3 32 bytes
    bits_ = mode == 0 ? 0 : 4 - mode;
    span_ = 16u << bits_;
    if (is_mn_major && leading_ % (8 * span_) != 0) {  // as when a block's rank in its cluster got into the field
      fail("wgmma: panels " + hex(leading_) + " bytes apart, no multiple of eight lines");
    }
  }
  /// The element's bits.
  std::uint32_t at(unsigned outer, unsigned k) const {
    unsigned address = start_;
    if (is_mn_major_) {
      // Lines of one span along m or n, eight of them (k) behind each other.
      const unsigned per_line = span_ / 2, line = outer / per_line, group = k / 8;
      const unsigned next_line = bits_ ? leading_ : stride_, next_group = bits_ ? stride_ : leading_;
      address += outer % per_line * 2 + line * next_line + k % 8 * span_ + group * next_group;
    } else {
      // Eight rows of one span behind each other; without swizzle 16 bytes of k are a matrix of their own.
      const unsigned byte = k * bytes_, chunk = bits_ ? 0 : byte / 16;
      address += outer % 8 * span_ + outer / 8 * stride_ + (bits_ ? byte : byte % 16) + chunk * leading_;
    }
    address ^= (address >> 7 & ((1u << bits_) - 1)) << 4;
    if (address < begin_ || address + bytes_ > end_) fail("wgmma: operand at the shared address " + hex(address));
    std::uint32_t x = 0;
    std::memcpy(&x, shared_ + address, bytes_);
    return x;
  }

 private:
  const char* shared_;
  unsigned begin_, end_, start_, leading_, stride_, bytes_;
  bool is_mn_major_;
  unsigned bits_, span_;
};

struct Matrices {
  float a[kRows][kMostDepth];
  float b[kMostDepth][kMostColumns];
  float d[kRows][kMostColumns];
};
Matrices matrices;

#ifdef __x86_64__
__attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
void multiply(int n, int depth) {
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < depth; ++k) {
      const float a = matrices.a[row][k];
      for (int column = 0; column < n; ++column) matrices.d[row][column] += a * matrices.b[k][column];
    }
  }
}

/// Sums of e4m3 keep few bits.
void multiply_e4m3(int n, int depth) {
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < n; ++column) {
      float& d = matrices.d[row][column];
      double largest = std::abs(d);
      for (int k = 0; k < depth; ++k)
        largest = std::max(largest, std::abs(static_cast<double>(matrices.a[row][k]) * matrices.b[k][column]));
      const double unit = unit_of_e4m3_sum(largest);
      double sum = cut(d, unit);
      for (int k = 0; k < depth; ++k) sum += cut(static_cast<double>(matrices.a[row][k]) * matrices.b[k][column], unit);
      d = static_cast<float>(cut(sum, unit));
    }
  }
}

/// Row and column of register i of a thread of the group.
int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

unsigned depth_of(const WgmmaWords& words) { return kDepthBytes / bytes_of(words.number); }

void load_a(const Fibers& group, std::size_t product) {
  const WgmmaWords& words = group[0]->products[product].words;
  if (!words.a_registers) {
    const Operand a(*group[0]->in, words.a, words.number, words.a_is_mn_major);
    for (unsigned row = 0; row < kRows; ++row) {
      for (unsigned k = 0; k < depth_of(words); ++k) matrices.a[row][k] = to_float(a.at(row, k), words.number);
    }
    return;
  }
  for (int thread = 0; thread < kWarpgroup; ++thread) {
    const unsigned* registers = group[thread]->products[product].words.a_registers;
    for (int i = 0; i < 4; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8;
      if (words.number == Number::kTf32) {
        matrices.a[row][thread % 4 + i / 2 * 4] = to_float(registers[i], words.number);
        continue;
      }
      const int k = thread % 4 * 2 + i / 2 * 8;
      matrices.a[row][k] = to_float(registers[i] & 0xffffu, words.number);
      matrices.a[row][k + 1] = to_float(registers[i] >> 16, words.number);
    }
  }
}

void load_b(const Fibers& group, const WgmmaWords& words) {
  const Operand b(*group[0]->in, words.b, words.number, words.b_is_mn_major);
  for (unsigned column = 0; column < static_cast<unsigned>(words.n); ++column) {
    for (unsigned k = 0; k < depth_of(words); ++k) matrices.b[k][column] = to_float(b.at(column, k), words.number);
  }
}

Accumulator& accumulator_of(Fiber& fiber, const float* d) {
  for (Accumulator& x : fiber.accumulators) {
    if (x.d == d) return x;
  }
  fail("wgmma: a product without its registers");
}

void check_same(const WgmmaWords& x, const WgmmaWords& y) {
  if (x.n != y.n || x.number != y.number || x.accumulates != y.accumulates || x.a_is_mn_major != y.a_is_mn_major ||
      x.b_is_mn_major != y.b_is_mn_major || x.a != y.a || x.b != y.b || !x.a_registers != !y.a_registers) {
    fail("wgmma: the threads of a warpgroup name different operands");
  }
}

/// The next product of the group's threads, into their accumulators.
void execute(const Fibers& group, std::size_t product) {
  const WgmmaWords& words = group[0]->products[product].words;
  for (int thread = 1; thread < kWarpgroup; ++thread) check_same(words, group[thread]->products[product].words);
  load_a(group, product);
  load_b(group, words);
  if (words.accumulates) {
    for (int thread = 0; thread < kWarpgroup; ++thread) {
      const Accumulator& from = accumulator_of(*group[thread], group[thread]->products[product].words.d);
      for (int i = 0; i < words.n / 2; ++i)
        matrices.d[row_of(thread, i)][column_of(thread, i)] = from.sums[static_cast<std::size_t>(i)];
    }
  } else {
    std::memset(matrices.d, 0, sizeof matrices.d);
  }
  const auto depth = static_cast<int>(depth_of(words));
  words.number == Number::kE4m3 ? multiply_e4m3(words.n, depth) : multiply(words.n, depth);
  for (int thread = 0; thread < kWarpgroup; ++thread) {
    Accumulator& to = accumulator_of(*group[thread], group[thread]->products[product].words.d);
    for (int i = 0; i < words.n / 2; ++i)
      to.sums[static_cast<std::size_t>(i)] = matrices.d[row_of(thread, i)][column_of(thread, i)];
    --to.products;
  }
}

bool is_garbage(const float* d, int count) {
  for (int i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, d + i, 4);
    if (bits != 0x01010101u * static_cast<unsigned>(launch->options.garbage)) return false;
  }
  return true;
}

/// Gives registers their sums when no product of theirs is left.
void retire(Fiber& fiber) {
  std::erase_if(fiber.accumulators, [](const Accumulator& x) {
    if (x.products > 0) return false;
    if (!is_garbage(x.d, x.n / 2)) fail("wgmma: registers of a product were written before it was waited for");
    std::memcpy(x.d, x.sums.data(), x.sums.size() * sizeof(float));
    return true;
  });
}

/// All products of the calling thread's warpgroup but those of the newest `pending` groups. By the last of its threads.
void execute_all_but(int pending) {
  Fiber& caller = self();
  Fibers group;
  const int first = caller.number / kWarpgroup * kWarpgroup;
  for (int i = 0; i < kWarpgroup; ++i) group[i] = &caller.in->fibers[static_cast<std::size_t>(first + i)];
  std::size_t done = 0;
  const auto& products = group[0]->products;
  while (done < products.size() && products[done].group < group[0]->product_groups - pending) ++done;
  for (Fiber* fiber : group) {
    if (fiber->products.size() != products.size()) fail("wgmma: the threads of a warpgroup issued different products");
  }
  for (std::size_t i = 0; i < done; ++i) execute(group, i);
  for (Fiber* fiber : group) {
    fiber->products.erase(fiber->products.begin(), fiber->products.begin() + static_cast<std::ptrdiff_t>(done));
    retire(*fiber);
  }
}

void fence() { self().is_fenced = true; }

void issue(const WgmmaWords& words) {
  Fiber& fiber = self();
  if (!fiber.is_fenced) fail("wgmma.mma_async without a wgmma.fence since the last wait");
  if (words.n < 8 || words.n > kMostColumns || words.n % 8 != 0) fail("wgmma of n = " + std::to_string(words.n));
  Accumulator* mine = nullptr;
  for (Accumulator& x : fiber.accumulators) {
    if (x.d == words.d) mine = &x;
  }
  if (!mine) {
    mine = &fiber.accumulators.emplace_back(Accumulator{words.d, words.n, 0, {words.d, words.d + words.n / 2}});
    std::memset(words.d, launch->options.garbage, static_cast<std::size_t>(words.n) / 2 * sizeof(float));
  }
  if (mine->n != words.n) fail("wgmma: products of different sizes on the same registers");
  ++mine->products;
  fiber.products.push_back({words, fiber.product_groups});
  const bool now = launch->options.asynchrony == Asynchrony::kEarly;
  if (now && meet_warpgroup("wgmma.mma_async", words.n)) {
    execute_all_but(-1);
    release_warpgroup();
  }
}

void commit() { ++self().product_groups; }

void wait(int pending) {
  self().is_fenced = false;
  if (!meet_warpgroup("wgmma.wait_group", pending)) return;
  if (launch->options.asynchrony != Asynchrony::kEarly) {  // what can run runs first
    launch->product_waits.push_back(&self());
    block_on({"wgmma.wait_group"});
  }
  execute_all_but(pending);
  release_warpgroup();
}

}  // namespace

void check_nothing_in_flight(Fiber& fiber) {
  if (!fiber.products.empty()) fail("a thread ended with products in flight (wgmma.wait_group)");
}

bool end_a_product_wait() {
  auto& waits = launch->product_waits;
  if (waits.empty()) return false;
  const auto chosen =
      waits.begin() + static_cast<std::ptrdiff_t>(launch->options.seed == 0 ? 0 : launch->random() % waits.size());
  wake(**chosen);
  waits.erase(chosen);
  return true;
}

void add_products(Engine& table) {
  table.wgmma_fence = fence;
  table.wgmma = issue;
  table.wgmma_commit = commit;
  table.wgmma_wait = wait;
}

}  // namespace fovea::emulated
