// SPDX-License-Identifier: Apache-2.0
// What this processor can do at most, measured now, by the threads of a pool.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "cpu/kernels/peaks.h"
#include "cpu/thread_pool.h"
#include "fovea/types.h"

namespace fovea::cpu {

/// The loops of a unit (isa.h), by name; the unit must run on this processor. Throws kInternal for an unknown name.
const Peaks& peaks_of(std::string_view isa);

/// The loop against which kernels of this unit and element type are measured: the products of bf16 where the unit has
/// them and dtype is bf16, else fp32 multiply-adds (fp16 is converted, so its limit is that of fp32).
const FlopLoop& flop_loop(std::string_view isa, DType dtype);

/// Floating-point operations per second of all threads of the pool together: the best of a few short readings, some
/// milliseconds in all. Clocks change within seconds: take it just before what it is compared with.
double measure_flops(ThreadPool& pool, const FlopLoop& loop);

struct MemorySpan {
  const void* data;
  std::int64_t size_bytes;
};

/// Bytes per second with which all threads together read the spans, each thread its part: the best of several passes,
/// with and without software prefetch. Give it the memory that a kernel reads: only then do both find it on the same
/// pages and in the same caches. Spans that fit into the threads' caches are read over and over.
/// Up to 1 KiB at each end of a span is left out.
double measure_read_bandwidth(ThreadPool& pool, const Peaks& peaks, std::span<const MemorySpan> spans);

/// Memory to read where there is none yet: huge pages where the system gives them, first touched by the pool's threads.
class ReadBuffer {
 public:
  ReadBuffer(ThreadPool& pool, std::int64_t bytes);
  std::int64_t size_bytes() const { return bytes_; }
  double measure(ThreadPool& pool, const Peaks& peaks) const;

 private:
  AlignedBuffer memory_;
  std::int64_t bytes_;
};

}  // namespace fovea::cpu
