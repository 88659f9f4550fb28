// SPDX-License-Identifier: Apache-2.0
// CUDA's built-in words for a host compiler. Every kernel is compiled behind this text. `extern __shared__` and
// `__shared__` declarations have been rewritten to FOVEA_DYNAMIC_SHARED and FOVEA_STATIC_SHARED (driver/nvrtc.cpp).
#pragma once

#include "emulated/abi.h"

#define __CUDACC__ 1
#define __host__
#define __device__
#define __global__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

extern "C" {
float expf(float) noexcept;
float exp2f(float) noexcept;
float logf(float) noexcept;
float tanhf(float) noexcept;
float erfcf(float) noexcept;
float fmaf(float, float, float) noexcept;
void* memcpy(void*, const void*, unsigned long) noexcept;
}
inline float fmaxf(float a, float b) { return a > b || b != b ? a : b; }  // a call in libm otherwise
inline float fabsf(float x) { return __builtin_fabsf(x); }

struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct __align__(8) uint2 {
  unsigned x, y;
};
struct __align__(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace fovea::emulated {

inline Engine* engine = nullptr;

/// The bits of any 4-byte value as an unsigned, and back.
template <typename T>
inline unsigned bits_of(T x) {
  static_assert(sizeof(T) == 4, "values of 4 bytes travel between lanes");
  return __builtin_bit_cast(unsigned, x);
}

inline int static_shared_bytes = 0;  // of all declarations; grows before the kernel is first asked
constexpr int kSharedBegin = 1024;   // what lies below is the system's

inline int reserve_static_shared(int bytes, int alignment) {
  const int at = (static_shared_bytes + alignment - 1) / alignment * alignment;
  static_shared_bytes = at + bytes;
  return at;
}
template <typename T, int alignment, int number>
inline const int static_shared_place = reserve_static_shared(sizeof(T), alignment > static_cast<int>(alignof(T))
                                                                            ? alignment
                                                                            : static_cast<int>(alignof(T)));
template <typename T, int alignment, int number>
inline T& static_shared() {
  return *reinterpret_cast<T*>(engine->current->shared + kSharedBegin + static_shared_place<T, alignment, number>);
}
template <typename T, int alignment>
inline T* dynamic_shared() {
  constexpr unsigned kAlignment = alignment > static_cast<int>(alignof(T)) ? alignment : alignof(T);
  return reinterpret_cast<T*>(engine->current->shared +
                              (engine->current->dynamic_shared + kAlignment - 1) / kAlignment * kAlignment);
}

template <typename T>
inline T shuffle(unsigned mask, T value, int source) {
  ShuffleWords words = {bits_of(value), source, 0};
  engine->meet(WarpWord::kShuffle, mask, &words);
  return __builtin_bit_cast(T, words.result);
}
inline unsigned vote(unsigned mask, bool predicate) {
  VoteWords words = {predicate, 0};
  engine->meet(WarpWord::kVote, mask, &words);
  return words.ballot;
}
inline int lane() { return engine->current->thread.x % 32; }

template <typename... P>
struct Parameters {
  static constexpr int kBytes[sizeof...(P) + 1] = {sizeof(P)..., 0};
  template <int... index>
  struct List {};
  template <int n, int... index>
  struct Count : Count<n - 1, n - 1, index...> {};
  template <int... index>
  struct Count<0, index...> {
    static void run(void (*kernel)(P...), void** parameters) { kernel(*static_cast<P*>(parameters[index])...); }
  };
  static void run(void (*kernel)(P...), void** parameters) { Count<sizeof...(P)>::run(kernel, parameters); }
};
template <typename... P>
Parameters<P...> parameters_of(void (*)(P...));

}  // namespace fovea::emulated

#define FOVEA_STATIC_SHARED(number, name, alignment, ...) \
  auto& name = ::fovea::emulated::static_shared<__VA_ARGS__, alignment, number>()
#define FOVEA_DYNAMIC_SHARED(name, alignment, ...) \
  auto* const name = ::fovea::emulated::dynamic_shared<__VA_ARGS__, alignment>()

#define threadIdx (::fovea::emulated::engine->current->thread)
#define blockIdx (::fovea::emulated::engine->current->block)
#define blockDim (::fovea::emulated::engine->current->block_size)
#define gridDim (::fovea::emulated::engine->current->grid_size)

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  ::fovea::emulated::engine->meet(::fovea::emulated::WarpWord::kSyncwarp, mask, nullptr);
}
inline void __syncthreads() { ::fovea::emulated::engine->block_barrier(::fovea::emulated::BlockWord::kBarrier, 0); }
inline int __syncthreads_or(int x) {
  return ::fovea::emulated::engine->block_barrier(::fovea::emulated::BlockWord::kOr, x != 0);
}

// Lanes are counted inside groups of `width`; a source outside of the group gives the own value.
template <typename T>
inline T __shfl_sync(unsigned mask, T x, int source, int width = 32) {
  const int lane = ::fovea::emulated::lane();
  return ::fovea::emulated::shuffle(mask, x, lane / width * width + (source & (width - 1)));
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T x, int distance, int width = 32) {
  const int lane = ::fovea::emulated::lane(), source = lane ^ distance;
  return ::fovea::emulated::shuffle(mask, x, source < (lane / width + 1) * width ? source : -1);
}
inline int __any_sync(unsigned mask, int x) { return ::fovea::emulated::vote(mask, x != 0) != 0; }

// Threads change over at waits only, so a read and a write behind it are not parted.
template <typename T>
inline T atomicAdd(T* at, T x) {
  const T old = *at;
  *at = old + x;
  return old;
}
inline void __threadfence() { __asm__ volatile("" ::: "memory"); }
inline void __nanosleep(unsigned) { ::fovea::emulated::engine->pause(); }

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned bits) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (bits & 31));
}
// Byte i of the result is the one of {low, high} that digit i of `select` names.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned select) {
  const unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> 8 * (select >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }

inline unsigned long __cvta_generic_to_shared(const void* pointer) {
  const ::fovea::emulated::Thread& thread = *::fovea::emulated::engine->current;
  const unsigned long at = static_cast<const char*>(pointer) - thread.shared;
  if (at < thread.shared_begin || at > thread.shared_end) {
    ::fovea::emulated::engine->fail("cvta to shared memory of an address that lies elsewhere");
  }
  return at | ::fovea::emulated::own_rank_bits(thread);
}
inline void* __cvta_shared_to_generic(unsigned long shared) {
  const ::fovea::emulated::Thread& thread = *::fovea::emulated::engine->current;
  if (shared >> 24 != 0) shared ^= ::fovea::emulated::own_rank_bits(thread);
  if (shared < thread.shared_begin || shared > thread.shared_end) {
    ::fovea::emulated::engine->fail("cvta of an address outside of the block's shared memory");
  }
  return thread.shared + shared;
}
