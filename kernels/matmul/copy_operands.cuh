// SPDX-License-Identifier: Apache-2.0
// Copies operands of a matrix product to where the copy engine can read them: lines at multiples of 128 bytes. What is
// contiguous in the operand stays so (copy_lines): 16 aligned bytes are read for 16 that are written, twice, since
// lines may begin anywhere; the second time they come from the L1 cache. Else tiles of 128 bytes by 128 / element_bytes
// lines are transposed, four bytes at a time, on their way through shared memory (copy_tile). Nothing in the copy
// behind a line's end is ever read as data: the tensor maps of the product end where lines do.
#pragma once

#include "contract/operand_copies.h"
#include "kernels/ptx/griddepcontrol.cuh"

namespace fovea {

template <int bytes>
struct BitsOf;
template <>
struct BitsOf<1> {
  using Type = unsigned char;
};
template <>
struct BitsOf<2> {
  using Type = unsigned short;
};
template <>
struct BitsOf<4> {
  using Type = unsigned;
};

/// Byte offset of matrix `index` among those that the operand has.
__device__ inline Int64 matrix_offset(const OperandCopy& x, int index) {
  const auto quotient = [](int n, const Divisor& d) { return static_cast<int>(d.divide(static_cast<unsigned>(n))); };
  const int middle = quotient(index, x.of_inner), outer = quotient(middle, x.of_middle);
  return (index - middle * x.batch_sizes[2]) * x.from_batch_bytes[2] +
         (middle - outer * x.batch_sizes[1]) * x.from_batch_bytes[1] + outer * x.from_batch_bytes[0];
}

/// 16 of the 32 bytes of low and high, from byte `shift` (0 to 15) on, a multiple of element_bytes.
template <int element_bytes>
__device__ inline uint4 shifted(const uint4& low, const uint4& high, unsigned shift) {
  const bool by_8 = shift & 8, by_4 = shift & 4;
  const unsigned a[6] = {by_8 ? low.z : low.x,  by_8 ? low.w : low.y,   by_8 ? high.x : low.z,
                         by_8 ? high.y : low.w, by_8 ? high.z : high.x, by_8 ? high.w : high.y};
  unsigned b[5];
#pragma unroll
  for (int i = 0; i < 5; ++i) b[i] = by_4 ? a[i + 1] : a[i];
  if constexpr (element_bytes == 4) return make_uint4(b[0], b[1], b[2], b[3]);
  const unsigned bits = 8 * (shift & 3);
  return make_uint4(__funnelshift_r(b[0], b[1], bits), __funnelshift_r(b[1], b[2], bits),
                    __funnelshift_r(b[2], b[3], bits), __funnelshift_r(b[3], b[4], bits));
}

/// The block's words; word `unit` of all is 16 bytes of one line of the copy.
template <OperandCopyConfig config>
__device__ void copy_lines(const OperandCopy& x, int block) {
  constexpr int kElements = 16 / config.element_bytes;
  using Bits = typename BitsOf<config.element_bytes>::Type;
  uint4 low[kCopyWords], high[kCopyWords];
  char* to[kCopyWords];
  unsigned shift[kCopyWords];
#pragma unroll
  for (int i = 0; i < kCopyWords; ++i) {
    to[i] = nullptr;
    low[i] = high[i] = make_uint4(0, 0, 0, 0);
    shift[i] = 0;
    const int unit = (block * kCopyWords + i) * kCopyThreads + static_cast<int>(threadIdx.x);
    if (unit < x.units) {
      const int line = static_cast<int>(x.of_line.divide(static_cast<unsigned>(unit)));
      const int word = unit - line * x.units_of_line;
      const char* from = x.from + word * Int64{16};
      if constexpr (config.has_batch) {
        const int matrix = static_cast<int>(x.of_matrix.divide(static_cast<unsigned>(line)));
        from += matrix_offset(x, matrix) + (line - matrix * x.lines) * x.from_line_bytes;
      } else {
        from += line * x.from_line_bytes;
      }
      char* const at = x.to + line * x.to_line_bytes + word * Int64{16};
      shift[i] = static_cast<unsigned>(reinterpret_cast<unsigned long long>(from)) & 15u;
      const char* aligned = from - shift[i];
      const char* above = aligned + (shift[i] ? 16 : 0);
      if (above + 16 <= x.end) {
        to[i] = at;
        low[i] = *reinterpret_cast<const uint4*>(aligned);
        high[i] = *reinterpret_cast<const uint4*>(above);
      } else {  // the operand ends here, and perhaps the memory
        const int count = min_of(x.length - word * kElements, kElements);
#pragma unroll 1
        for (int e = 0; e < count; ++e) reinterpret_cast<Bits*>(at)[e] = reinterpret_cast<const Bits*>(from)[e];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kCopyWords; ++i) {
    if (to[i]) *reinterpret_cast<uint4*>(to[i]) = shifted<config.element_bytes>(low[i], high[i], shift[i]);
  }
}

/// n words of n elements each, as the rows of a matrix: its columns.
__device__ inline void transpose_words(unsigned (&)[1]) {}
__device__ inline void transpose_words(unsigned (&w)[2]) {
  const unsigned low = __byte_perm(w[0], w[1], 0x5410);
  w[1] = __byte_perm(w[0], w[1], 0x7632);
  w[0] = low;
}
__device__ inline void transpose_words(unsigned (&w)[4]) {
  const unsigned a = __byte_perm(w[0], w[1], 0x5140), b = __byte_perm(w[2], w[3], 0x5140);
  const unsigned c = __byte_perm(w[0], w[1], 0x7362), d = __byte_perm(w[2], w[3], 0x7362);
  w[0] = __byte_perm(a, b, 0x5410), w[1] = __byte_perm(a, b, 0x7632);
  w[2] = __byte_perm(c, d, 0x5410), w[3] = __byte_perm(c, d, 0x7632);
}

/// A tile of 32 x 32 squares of 4 bytes by 4 / element_bytes lines, and the part of it that is inside the operand. A
/// thread copies kRounds squares.
template <OperandCopyConfig config>
struct CopyTile {
  static constexpr int kBytes = config.element_bytes, kElements = 4 / kBytes, kSide = 32 * kElements;
  static constexpr int kWarps = kCopyThreads / 32, kRounds = 32 / kWarps;
  const OperandCopy& x;
  int matrix, first_line, first;  // of the tile; first: in a line
  const char* from;
  bool lanes_across;  // lines; else along them: where neighbours lie closer

  __device__ CopyTile(const OperandCopy& copy, int tile) : x(copy) {
    matrix = config.has_batch ? static_cast<int>(x.of_matrix.divide(static_cast<unsigned>(tile))) : 0;
    const int place = tile - matrix * x.units_of_matrix;
    const int column = static_cast<int>(x.of_line.divide(static_cast<unsigned>(place)));
    first_line = (place - column * x.units_of_line) * kSide, first = column * kSide;
    from = x.from + (config.has_batch ? matrix_offset(x, matrix) : 0) + first_line * x.from_line_bytes +
           first * x.from_element_bytes;
    const auto distance = [](Int64 step) { return step < 0 ? -step : step; };
    lanes_across = distance(x.from_line_bytes) <= distance(x.from_element_bytes);
  }

  /// This thread's square of a round.
  struct Square {
    int across, along;    // in the tile
    int lines, elements;  // of the operand, from its first on
    const char* from;
  };
  __device__ Square square(int round) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, other = static_cast<int>(threadIdx.x) / 32 + kWarps * round;
    Square s;
    s.across = lanes_across ? lane : other, s.along = lanes_across ? other : lane;
    s.lines = x.lines - first_line - s.across * kElements, s.elements = x.length - first - s.along * kElements;
    s.from = from + s.across * kElements * x.from_line_bytes + s.along * kElements * x.from_element_bytes;
    return s;
  }

  /// Where the four bytes begin that an aligned read gets, and the four that it needs beside them.
  static __device__ const unsigned* below(const char* at) { return reinterpret_cast<const unsigned*>(at - shift(at)); }
  static __device__ const unsigned* above(const char* at) { return below(at) + (shift(at) != 0); }
  static __device__ unsigned shift(const char* at) {
    return static_cast<unsigned>(reinterpret_cast<unsigned long long>(at)) % 4;
  }

  /// Whether words can be read: its elements all exist and lie together across lines, and so does memory around them.
  __device__ bool is_whole(const Square& s) const {
    if (s.lines < kElements || s.elements < kElements) return false;
    if constexpr (kElements == 1) return true;
    const char* last = s.from + (kElements - 1) * x.from_element_bytes;
    return x.from_line_bytes == kBytes && reinterpret_cast<const char*>(above(s.from) + 1) <= x.end &&
           reinterpret_cast<const char*>(above(last) + 1) <= x.end;
  }

  /// Word `along` of line kElements across + e of the tile lies at (32 e + across, along) in shared memory, 33 words
  /// from row to row: lanes that write, and those that read, meet 32 different banks.
  static __device__ void store(unsigned* words, const Square& s, unsigned (&square_words)[kElements]) {
    transpose_words(square_words);
#pragma unroll
    for (int e = 0; e < kElements; ++e) words[(32 * e + s.across) * 33 + s.along] = square_words[e];
  }
};

/// Squares that are not whole: at an edge, or of elements that lie apart.
template <OperandCopyConfig config>
__device__ void copy_square_by_elements(const CopyTile<config>& tile, int round, unsigned* words) {
  using T = CopyTile<config>;
  using Bits = typename BitsOf<T::kBytes>::Type;
  const typename T::Square s = tile.square(round);
  unsigned square_words[T::kElements] = {};
#pragma unroll
  for (int j = 0; j < T::kElements; ++j) {
#pragma unroll
    for (int e = 0; e < T::kElements; ++e) {
      if (e >= s.lines || j >= s.elements) continue;
      const char* at = s.from + j * tile.x.from_element_bytes + e * tile.x.from_line_bytes;
      square_words[j] |= static_cast<unsigned>(*reinterpret_cast<const Bits*>(at)) << (8 * T::kBytes * e);
    }
  }
  T::store(words, s, square_words);
}

template <OperandCopyConfig config>
__device__ void copy_tile(const OperandCopy& x, int index) {
  using T = CopyTile<config>;
  constexpr int kElements = T::kElements;
  __shared__ __align__(16) unsigned words[T::kSide * 33];
  const T tile(x, index);
  unsigned low[T::kRounds][kElements], high[T::kRounds][kElements];
  bool is_whole[T::kRounds];
#pragma unroll
  for (int r = 0; r < T::kRounds; ++r) {  // all reads are on their way before the first word is looked at
    const typename T::Square s = tile.square(r);
    is_whole[r] = tile.is_whole(s);
#pragma unroll
    for (int j = 0; j < kElements; ++j) {
      const char* at = s.from + j * x.from_element_bytes;
      low[r][j] = is_whole[r] ? *T::below(at) : 0;
      if constexpr (kElements > 1) high[r][j] = is_whole[r] ? *T::above(at) : 0;
    }
  }
#pragma unroll
  for (int r = 0; r < T::kRounds; ++r) {
    const typename T::Square s = tile.square(r);
    unsigned square_words[kElements];
#pragma unroll
    for (int j = 0; j < kElements; ++j) {
      square_words[j] = low[r][j];
      if constexpr (kElements > 1)
        square_words[j] = __funnelshift_r(low[r][j], high[r][j], 8 * T::shift(s.from + j * x.from_element_bytes));
    }
    if (is_whole[r]) T::store(words, s, square_words);
  }
  if constexpr (kElements > 1) {
#pragma unroll 1
    for (int r = 0; r < T::kRounds; ++r) {
      if (!tile.is_whole(tile.square(r))) copy_square_by_elements<config>(tile, r, words);
    }
  }
  __syncthreads();
  constexpr int kChunk = 16 / T::kBytes;
  const int row = static_cast<int>(threadIdx.x) / 8, chunk = static_cast<int>(threadIdx.x) % 8;
  if (tile.first + chunk * kChunk >= x.length) return;
#pragma unroll
  for (int e = 0; e < kElements; ++e) {
    const int line = tile.first_line + row * kElements + e;
    if (line >= x.lines) break;
    const unsigned* w = words + (32 * e + row) * 33 + 4 * chunk;
    char* const to =
        x.to + (static_cast<Int64>(tile.matrix) * x.lines + line) * x.to_line_bytes + Int64{tile.first} * T::kBytes;
    *reinterpret_cast<uint4*>(to + 16 * chunk) = make_uint4(w[0], w[1], w[2], w[3]);
  }
}

template <OperandCopyConfig config>
__device__ void matmul_copy_operands(const OperandCopies& copies) {
  if (copies.starts_product) griddepcontrol_launch_dependents();
  griddepcontrol_wait();
  const int block = static_cast<int>(blockIdx.x);
  const bool is_second = block >= copies.first_blocks;
  const OperandCopy& x = copies.copy[is_second];
  const int index = is_second ? block - copies.first_blocks : block;
  if constexpr (!config.has_tiles) {
    copy_lines<config>(x, index);
  } else if constexpr (!config.has_lines) {
    copy_tile<config>(x, index);
  } else {
    if (x.is_transposed) {
      copy_tile<config>(x, index);
    } else {
      copy_lines<config>(x, index);
    }
  }
}

}  // namespace fovea
