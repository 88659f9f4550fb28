// SPDX-License-Identifier: Apache-2.0
// Words of a warp: lanes of the mask come one by one, the last one does the work for all.
// Layouts: docs.nvidia.com/cuda/parallel-thread-execution, "ldmatrix", "stmatrix", "mma.m16n8k16", "mma.m16n8k8",
// "mma.m16n8k32".
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "tests/emulated_gpu/engine/launch.h"
#include "tests/emulated_gpu/engine/numbers.h"

namespace fovea::emulated {
namespace {

const char* name_of(WarpWord word) {
  switch (word) {
    case WarpWord::kSyncwarp: return "__syncwarp";
    case WarpWord::kShuffle: return "a shuffle";
    case WarpWord::kVote: return "a vote";
    case WarpWord::kLdmatrix: return "ldmatrix";
    case WarpWord::kLdmatrixTransposed: return "ldmatrix.trans";
    case WarpWord::kStmatrix: return "stmatrix";
    case WarpWord::kMmaBf16K16: return "mma.m16n8k16 bf16";
    case WarpWord::kMmaF16K16: return "mma.m16n8k16 f16";
    case WarpWord::kMmaF16K8: return "mma.m16n8k8 f16";
    case WarpWord::kMmaTf32K8: return "mma.m16n8k8 tf32";
    case WarpWord::kMmaE4m3K32: return "mma.m16n8k32 e4m3";
  }
  return "?";
}

bool is_aligned(WarpWord word) {  // ".aligned": every lane of the warp, none may have ended
  return word != WarpWord::kSyncwarp && word != WarpWord::kShuffle && word != WarpWord::kVote;
}

void shuffle(Meeting& m) {
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(m.arrived >> lane & 1)) continue;
    auto& words = *static_cast<ShuffleWords*>(m.words[lane]);
    const int source = words.source < 0 ? lane : words.source;
    if (!(m.arrived >> source & 1))
      fail("a shuffle reads lane " + std::to_string(source) + ", which does not take part");
    words.result = static_cast<ShuffleWords*>(m.words[source])->value;
  }
}

void vote(Meeting& m) {
  unsigned ballot = 0;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (m.arrived >> lane & 1)
      ballot |= static_cast<unsigned>(static_cast<VoteWords*>(m.words[lane])->predicate) << lane;
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if (m.arrived >> lane & 1) static_cast<VoteWords*>(m.words[lane])->ballot = ballot;
  }
}

/// Rows of the four 8 x 8 matrices: lane l gives row l % 8 of matrix l / 8.
void move_matrices(Meeting& m, bool transposed, bool stores) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t elements[8][8];
    char* rows[8];
    for (int r = 0; r < 8; ++r) {
      const unsigned address = static_cast<MatrixWords*>(m.words[8 * matrix + r])->address;
      if (address % 16 != 0) fail(std::string(name_of(m.word)) + ": address " + hex(address) + " is no multiple of 16");
      rows[r] = shared_at(*self().in, address, 16);
      if (!stores) std::memcpy(elements[r], rows[r], 16);
    }
    for (int lane = 0; lane < kWarp; ++lane) {
      unsigned& held = static_cast<MatrixWords*>(m.words[lane])->registers[matrix];
      const int i = lane / 4, j = 2 * (lane % 4);
      if (stores) {
        elements[i][j] = static_cast<std::uint16_t>(held);
        elements[i][j + 1] = static_cast<std::uint16_t>(held >> 16);
      } else {
        const unsigned low = transposed ? elements[j][i] : elements[i][j];
        const unsigned high = transposed ? elements[j + 1][i] : elements[i][j + 1];
        held = low | high << 16;
      }
    }
    for (int r = 0; stores && r < 8; ++r) std::memcpy(rows[r], elements[r], 16);
  }
}

/// Products of one element of c are added at once, as the matrix units do; those of e4m3 with few bits.
float add_products(float c, const float* a, const float (*b)[8], int column, int k, Number number) {
  if (number != Number::kE4m3) {
    float sum = 0;
    for (int i = 0; i < k; ++i) sum += a[i] * b[i][column];
    return c + sum;
  }
  double largest = std::abs(c);
  for (int i = 0; i < k; ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i]) * b[i][column]));
  const double unit = unit_of_e4m3_sum(largest);
  double sum = cut(c, unit);
  for (int i = 0; i < k; ++i) sum += cut(static_cast<double>(a[i]) * b[i][column], unit);
  return static_cast<float>(cut(sum, unit));
}

/// c (16 x 8) += a (16 x k) b (k x 8).
template <int k, Number number>
void multiply(Meeting& m) {
  constexpr int kBytes = number == Number::kTf32 ? 4 : number == Number::kE4m3 ? 1 : 2;
  constexpr int kPer = 4 / kBytes, kWords = k / (4 * kPer);  // elements of a register, registers of b
  float a[16][k], b[k][8];
  const auto element = [](unsigned word, int i) {
    return to_float(kPer == 1 ? word : word >> (i * 8 * kBytes) & ((1u << 8 * kBytes % 32) - 1), number);
  };
  for (int lane = 0; lane < kWarp; ++lane) {
    const auto& words = *static_cast<MmaWords*>(m.words[lane]);
    const int g = lane / 4, t = kPer * (lane % 4);
    for (int e = 0; e < kPer; ++e) {
      for (int i = 0; i < 2 * kWords; ++i) a[g + 8 * (i % 2)][t + 4 * kPer * (i / 2) + e] = element(words.a[i], e);
      for (int i = 0; i < kWords; ++i) b[t + 4 * kPer * i + e][g] = element(words.b[i], e);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      const int lane = row % 8 * 4 + column / 2;
      float& c = static_cast<MmaWords*>(m.words[lane])->c[row / 8 * 2 + column % 2];
      c = add_products(c, a[row], b, column, k, number);
    }
  }
}

void finish(Meeting& m) {
  switch (m.word) {
    case WarpWord::kSyncwarp: return;
    case WarpWord::kShuffle: return shuffle(m);
    case WarpWord::kVote: return vote(m);
    case WarpWord::kLdmatrix: return move_matrices(m, false, false);
    case WarpWord::kLdmatrixTransposed: return move_matrices(m, true, false);
    case WarpWord::kStmatrix: return move_matrices(m, false, true);
    case WarpWord::kMmaBf16K16: return multiply<16, Number::kBf16>(m);
    case WarpWord::kMmaF16K16: return multiply<16, Number::kF16>(m);
    case WarpWord::kMmaF16K8: return multiply<8, Number::kF16>(m);
    case WarpWord::kMmaTf32K8: return multiply<8, Number::kTf32>(m);
    case WarpWord::kMmaE4m3K32: return multiply<32, Number::kE4m3>(m);
  }
}

Meeting& meeting_for(Warp& warp, WarpWord word, unsigned mask) {
  Meeting* unused = nullptr;
  for (Meeting& m : warp.meetings) {
    if (m.is_open && m.word == word && m.mask == mask) return m;
    if (!m.is_open) unused = &m;
  }
  if (!unused) unused = &warp.meetings.emplace_back();
  unused->is_open = true;
  unused->word = word;
  unused->mask = mask;
  unused->arrived = 0;
  return *unused;
}

/// Does the work if all have come; the caller `by`, if it is one of them, is not woken.
bool finish_if_complete(Warp& warp, Meeting& m, const Fiber* by) {
  if ((m.mask & warp.alive & ~m.arrived) != 0) return false;
  if (is_aligned(m.word) && m.arrived != 0xffffffffu) {
    fail(std::string(name_of(m.word)) + " by lanes " + hex(m.arrived) + ": the others have ended");
  }
  finish(m);
  m.is_open = false;
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((m.arrived >> lane & 1) && warp.lanes[lane] != by) wake(*warp.lanes[lane]);
  }
  return true;
}

void meet(WarpWord word, unsigned mask, void* words) {
  Fiber& fiber = self();
  Warp& warp = *fiber.warp;
  const unsigned bit = 1u << fiber.lane;
  if (!(mask & bit))
    fail(std::string(name_of(word)) + " with the mask " + hex(mask) + ", which lacks the calling lane");
  Meeting& m = meeting_for(warp, word, mask);
  m.arrived |= bit;
  m.words[fiber.lane] = words;
  if (finish_if_complete(warp, m, &fiber)) return;
  block_on({name_of(word), mask, 0});
}

}  // namespace

void leave_warp_words(Fiber& fiber) {
  for (std::size_t i = 0; i < fiber.warp->meetings.size(); ++i) {
    Meeting& m = fiber.warp->meetings[i];
    if (m.is_open && (m.mask >> fiber.lane & 1)) finish_if_complete(*fiber.warp, m, nullptr);
  }
}

void add_warp_words(Engine& table) { table.meet = meet; }

}  // namespace fovea::emulated
