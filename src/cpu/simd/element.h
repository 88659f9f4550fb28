// SPDX-License-Identifier: Apache-2.0
// Storage types of small floats: only memory, no arithmetic. The words of each instruction set convert them.
#pragma once

namespace fovea::cpu {

struct Half {
  unsigned short bits;
};
struct Bfloat16 {
  unsigned short bits;
};
/// fp8 of 4 bits of exponent and 3 of mantissa; 0x7f and 0xff are NaN, nothing is infinite. Words only load it.
struct E4m3 {
  unsigned char bits;
};
static_assert(sizeof(E4m3) == 1, "an element of 8 bits");
static_assert(sizeof(Half) == 2 && sizeof(Bfloat16) == 2, "elements of 16 bits");

/// Polynomials of 2^r, minimax in relative error.
/// r in [-1/2, 1/2], degree 6: 0.66 ulp. r in [0, 1), degree 6: 0.57 ulp; degree 5, 1 at 0: 1.3 ulp; degree 4: 2.7e-6;
/// degree 3: 7.5e-5, enough where the result is rounded to fp16 (2^-12) and bf16 (2^-9).
inline constexpr float kExp2Round6[] = {1.000000001f,    0.6931472057f,   0.2402264689f,   0.05550328777f,
                                        0.009618488958f, 0.001339993122f, 0.0001534581186f};
inline constexpr float kExp2Floor6[] = {1.000000002f,    0.6931469838f,   0.2402298363f,   0.05548334199f,
                                        0.009678840989f, 0.001243968789f, 0.0002170225523f};
inline constexpr float kExp2Floor5[] = {1.0f,           0.6931513118f,   0.24016445f,
                                        0.05579991376f, 0.009017029415f, 0.001867130496f};
inline constexpr float kExp2Floor4[] = {1.000002593f, 0.6930038345f, 0.2414427567f, 0.05201146094f, 0.01353416775f};
inline constexpr float kExp2Floor3[] = {0.9999252186f, 0.6958335398f, 0.2260671575f, 0.07802452118f};

inline constexpr float kInfinity = __builtin_inff();

}  // namespace fovea::cpu
