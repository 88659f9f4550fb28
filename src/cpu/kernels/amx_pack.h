// SPDX-License-Identifier: Apache-2.0
// Rows of q, k and v into tiles. An element becomes a sum of bf16 parts: bf16 is itself, fp16 is exactly two, fp32
// exactly three, so that products of parts with fp32 sums give the products of the elements.
// The split is exact only for ordinary magnitudes; Magnitudes says whether all were.
#pragma once

#include <immintrin.h>

#include "cpu/kernels/amx_tiles.h"
#include "cpu/simd/avx512.h"
#include "cpu/simd/element.h"

FOVEA_ISA_BEGIN(FOVEA_TARGET_AVX512BF16)
namespace fovea::cpu::amx {

template <typename Element>
inline constexpr int kParts = 0;
template <>
inline constexpr int kParts<Bfloat16> = 1;
template <>
inline constexpr int kParts<Half> = 2;
template <>
inline constexpr int kParts<float> = 3;

/// 32 elements of a row, as parts.
template <typename Element>
struct Parts {
  __m512i part[kParts<Element>];
};

/// Largest and smallest non-zero magnitude seen, per lane, as bits.
struct Magnitudes {
  __m512i largest;
  __m512i smallest_less_one;  // fp32 only; zero minus one is the largest unsigned number
};

FOVEA_WORD Magnitudes no_magnitudes() { return {_mm512_setzero_si512(), _mm512_set1_epi32(-1)}; }

FOVEA_WORD __mmask32 first_words(int n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0u : (1u << n) - 1u; }

FOVEA_WORD __m512 low_to_float(__m512i bf16) { return avx512::from_bfloat16(_mm512_castsi512_si256(bf16)); }
FOVEA_WORD __m512 high_to_float(__m512i bf16) { return avx512::from_bfloat16(_mm512_extracti64x4_epi64(bf16, 1)); }

/// 32 floats rounded to bf16, in order.
FOVEA_WORD __m512i to_bf16(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

template <typename Element>
FOVEA_WORD Parts<Element> split(__m512 low, __m512 high) {
  Parts<Element> parts;
  FOVEA_UNROLL
  for (int i = 0; i < kParts<Element>; ++i) {
    parts.part[i] = to_bf16(low, high);
    low = _mm512_sub_ps(low, low_to_float(parts.part[i]));
    high = _mm512_sub_ps(high, high_to_float(parts.part[i]));
  }
  return parts;
}

/// Elements [0, n) of a row, zeros behind; n may be any number, reads nothing past min(n, 32).
FOVEA_WORD Parts<Bfloat16> load_parts(const Bfloat16* row, int n, Magnitudes* seen) {
  const __m512i x = _mm512_maskz_loadu_epi16(first_words(n), row);
  seen->largest = _mm512_max_epu16(seen->largest, _mm512_and_si512(x, _mm512_set1_epi16(0x7fff)));
  return {{x}};
}

FOVEA_WORD Parts<Half> load_parts(const Half* row, int n, Magnitudes* seen) {
  const __m512i x = _mm512_maskz_loadu_epi16(first_words(n), row);
  seen->largest = _mm512_max_epu16(seen->largest, _mm512_and_si512(x, _mm512_set1_epi16(0x7fff)));
  return split<Half>(_mm512_cvtph_ps(_mm512_castsi512_si256(x)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(x, 1)));
}

FOVEA_WORD Parts<float> load_parts(const float* row, int n, Magnitudes* seen) {
  const __mmask32 mask = first_words(n);
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), row + 16);
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i a = _mm512_castps_si512(_mm512_abs_ps(low)), b = _mm512_castps_si512(_mm512_abs_ps(high));
  seen->largest = _mm512_max_epu32(seen->largest, _mm512_max_epu32(a, b));
  seen->smallest_less_one =
      _mm512_min_epu32(seen->smallest_less_one, _mm512_min_epu32(_mm512_sub_epi32(a, one), _mm512_sub_epi32(b, one)));
  return split<float>(low, high);
}

/// True if no element is NaN or infinite or so large or small that products, sums or parts could leave the range of
/// fp32: bf16 and fp32 magnitudes are below 2^56, and fp32 ones are zero or at least 2^-60.
template <typename Element>
FOVEA_WORD bool all_ordinary(const Magnitudes& seen);
template <>
bool all_ordinary<Bfloat16>(const Magnitudes& seen) {
  return _mm512_cmpge_epu16_mask(seen.largest, _mm512_set1_epi16(0x5b80)) == 0;
}
template <>
bool all_ordinary<Half>(const Magnitudes& seen) {
  return _mm512_cmpge_epu16_mask(seen.largest, _mm512_set1_epi16(0x7c00)) == 0;
}
template <>
bool all_ordinary<float>(const Magnitudes& seen) {
  return _mm512_cmpge_epu32_mask(seen.largest, _mm512_set1_epi32(0x5b800000)) == 0 &&
         _mm512_cmplt_epu32_mask(seen.smallest_less_one, _mm512_set1_epi32(0x217fffff)) == 0;
}

/// Queries as the first operand: tiles (part, depth step, half of the block) of 16 rows x 32 elements. A null row is
/// zeros. sign_bits is xored into every bf16 pair, to turn a negative softmax_scale into a positive one.
template <typename Element>
FOVEA_WORD void pack_queries(const Element* const* rows, int num_rows, int head_dim, int depth_steps, int sign_bits,
                             char* tiles, Magnitudes* seen) {
  const __m512i sign = _mm512_set1_epi32(sign_bits);
  const Int64 step_bytes = static_cast<Int64>(num_rows) * kTileRowBytes;
  for (int r = 0; r < num_rows; ++r) {
    for (int s = 0; s < depth_steps; ++s) {
      const int n = rows[r] ? head_dim - s * kTileDepth : 0;
      const Parts<Element> x = load_parts(rows[r] ? rows[r] + s * kTileDepth : nullptr, n, seen);
      char* to = tiles + s * step_bytes + r * kTileRowBytes;
      for (int i = 0; i < kParts<Element>; ++i) {
        _mm512_store_si512(to + i * depth_steps * step_bytes, _mm512_xor_si512(x.part[i], sign));
      }
    }
  }
}

/// Rows lie far apart (one per position of all heads), where the processor's prefetchers do not follow, and the
/// splitting of one row fills the window in which loads of the next could start: fp16 packs in half the time with it.
inline constexpr int kPrefetchRows = 32;
template <typename Element>
FOVEA_WORD void prefetch_rows(const Element* rows, Int64 stride, int begin, int end, int num_rows, int head_dim) {
  for (int r = begin; r < min_of(end, num_rows); ++r) {
    const char* at = reinterpret_cast<const char*>(rows + r * stride);
    for (Int64 i = 0; i < head_dim * static_cast<Int64>(sizeof(Element)); i += 64) _mm_prefetch(at + i, _MM_HINT_T0);
  }
}

/// Keys as the second operand of q k^T: tiles (16 keys, depth step), row = pair of elements, column = key; zeros from
/// num_keys up to a multiple of 32. A part's tiles begin part_bytes behind those of the part before.
template <typename Element>
FOVEA_WORD void pack_keys(const Element* k, Int64 stride_row, int num_keys, int head_dim, int depth_steps, char* tiles,
                          Int64 part_bytes, Magnitudes* seen) {
  for (int first = 0; first < ceil_div(num_keys, 32) * 32; first += kTileRows) {
    const int ahead = first + kPrefetchRows;
    prefetch_rows(k, stride_row, ahead, ahead + kTileRows, num_keys, head_dim);
    for (int s = 0; s < depth_steps; ++s, tiles += kTileBytes) {
      avx512::Vec row[kParts<Element>][kTileRows];
      FOVEA_UNROLL
      for (int r = 0; r < kTileRows; ++r) {
        const int n = first + r < num_keys ? head_dim - s * kTileDepth : 0;
        const Parts<Element> x = load_parts(k + (first + r) * stride_row + s * kTileDepth, n, seen);
        FOVEA_UNROLL
        for (int i = 0; i < kParts<Element>; ++i) row[i][r] = _mm512_castsi512_ps(x.part[i]);
      }
      for (int i = 0; i < kParts<Element>; ++i) {
        avx512::transpose(row[i]);
        FOVEA_UNROLL
        for (int r = 0; r < kTileRows; ++r) {
          _mm512_store_ps(reinterpret_cast<float*>(tiles + i * part_bytes + r * kTileRowBytes), row[i][r]);
        }
      }
    }
  }
}

/// Values as the second operand of p v: tiles (32 keys, 16 columns), row = pair of keys; zeros from num_keys up to a
/// multiple of 32 and from head_dim up to 16 * value_groups (even).
template <typename Element>
FOVEA_WORD void pack_values(const Element* v, Int64 stride_row, int num_keys, int head_dim, int value_groups,
                            char* tiles, Int64 part_bytes, Magnitudes* seen) {
  alignas(64) static constexpr unsigned short kFirst[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                            37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                            11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first_half = _mm512_load_si512(kFirst);
  const __m512i second_half = _mm512_add_epi16(first_half, _mm512_set1_epi16(16));
  for (int first = 0; first < num_keys; first += kTileDepth, tiles += value_groups * kTileBytes) {
    for (int r = 0; r < kTileRows; ++r) {
      const int key = first + 2 * r;
      const Element* row = v + key * stride_row;
      prefetch_rows(v, stride_row, key + kPrefetchRows, key + kPrefetchRows + 2, num_keys, head_dim);
      for (int c = 0; c < value_groups; c += 2) {
        const int n = head_dim - c * 16;
        const Parts<Element> a = load_parts(row + c * 16, key < num_keys ? n : 0, seen);
        const Parts<Element> b = load_parts(row + stride_row + c * 16, key + 1 < num_keys ? n : 0, seen);
        char* to = tiles + c * kTileBytes + r * kTileRowBytes;
        FOVEA_UNROLL
        for (int i = 0; i < kParts<Element>; ++i) {
          _mm512_store_si512(to + i * part_bytes, _mm512_permutex2var_epi16(a.part[i], first_half, b.part[i]));
          _mm512_store_si512(to + i * part_bytes + kTileBytes,
                             _mm512_permutex2var_epi16(a.part[i], second_half, b.part[i]));
        }
      }
    }
  }
}

}  // namespace fovea::cpu::amx
FOVEA_ISA_END
