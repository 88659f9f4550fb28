// SPDX-License-Identifier: Apache-2.0
#include "cpu/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/math.h"

namespace fovea::cpu {
namespace {

// One reading; long enough that waking the threads is nothing, short enough to fall between two interruptions.
constexpr double kReadingSeconds = 1e-3;
constexpr int kReadings = 4;
// What a thread takes at a time: less than a thread's part of any buffer worth reading, many times the cost of taking
// it.
constexpr std::int64_t kPieceBytes = 1 << 20;
constexpr std::int64_t kReadAlignment = 1024;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Work>
double seconds_of(Work&& work) {
  const double start = seconds_now();
  work();
  return seconds_now() - start;
}

/// Keeps a result alive: nothing that led to it may be left out.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

/// Rounds that one thread does in about kReadingSeconds / 8.
Int64 rounds_per_piece(const FlopLoop& loop) {
  Int64 rounds = 64;
  for (;;) {
    const double seconds = seconds_of([&] { keep(loop.run(rounds)); });
    if (seconds > kReadingSeconds / 16)
      return std::max<Int64>(1, static_cast<Int64>(static_cast<double>(rounds) * (kReadingSeconds / 8) / seconds));
    rounds *= 2;
  }
}

/// The whole kReadAlignment blocks inside each span.
std::vector<MemorySpan> aligned_parts(std::span<const MemorySpan> spans) {
  std::vector<MemorySpan> parts;
  for (const MemorySpan& span : spans) {
    const auto first = reinterpret_cast<std::uintptr_t>(span.data);
    const auto skipped = static_cast<std::int64_t>(-first % static_cast<std::uintptr_t>(AlignedBuffer::kCacheLine));
    const std::int64_t bytes = (span.size_bytes - skipped) / kReadAlignment * kReadAlignment;
    if (bytes > 0) parts.push_back({static_cast<const char*>(span.data) + skipped, bytes});
  }
  return parts;
}

/// Bytes [first, first + n) of the spans laid end to end.
void read_range(const Peaks& peaks, const std::vector<MemorySpan>& spans, std::int64_t first, std::int64_t n,
                std::int64_t prefetch) {
  for (const MemorySpan& span : spans) {
    const std::int64_t here = std::min(n, span.size_bytes - first);
    if (here > 0) {
      keep(peaks.read(static_cast<const char*>(span.data) + first, here, prefetch));
      n -= here;
      first += here;
    }
    first -= span.size_bytes;
    if (n == 0) return;
  }
}

}  // namespace

const Peaks& peaks_of(std::string_view isa) {
  using Get = const Peaks& (*)();
  static constexpr Get kAll[] = {
      baseline::peaks,
#ifdef __x86_64__
      avx2::peaks,     avx512::peaks, avx512bf16::peaks, amx::peaks,
#endif
  };
  for (const Get get : kAll) {
    if (get().isa == isa) return get();
  }
  fail(ErrorCode::kInternal, "isa", "isa is '{}', which has no peak loops", isa);
}

const FlopLoop& flop_loop(std::string_view isa, DType dtype) {
  const Peaks& peaks = peaks_of(isa);
  return dtype == DType::kBF16 && peaks.bf16.run ? peaks.bf16 : peaks.f32;
}

double measure_flops(ThreadPool& pool, const FlopLoop& loop) {
  const Int64 rounds = rounds_per_piece(loop);
  // Small pieces from the shared counter: a thread that wakes late or is interrupted does fewer.
  const std::int64_t pieces = 8 * std::int64_t{pool.num_threads()};
  double best = 0;
  for (int reading = 0; reading < kReadings; ++reading) {
    const double seconds =
        seconds_of([&] { pool.run(pieces, [&](std::int64_t, Scratch&) { keep(loop.run(rounds)); }); });
    best = std::max(best, static_cast<double>(pieces) * static_cast<double>(rounds) * loop.flops_per_round / seconds);
  }
  return best;
}

ReadBuffer::ReadBuffer(ThreadPool& pool, std::int64_t bytes)
    : memory_(static_cast<std::size_t>(round_up(std::max<std::int64_t>(bytes, 1), kReadAlignment))),
      bytes_(round_up(std::max<std::int64_t>(bytes, 1), kReadAlignment)) {
  pool.run((bytes_ + kPieceBytes - 1) / kPieceBytes, [&](std::int64_t piece, Scratch&) {
    const std::int64_t first = piece * kPieceBytes;
    std::memset(static_cast<char*>(memory_.data()) + first, static_cast<int>(piece % 127) + 1,
                static_cast<std::size_t>(std::min(kPieceBytes, bytes_ - first)));
  });
}

double ReadBuffer::measure(ThreadPool& pool, const Peaks& peaks) const {
  const MemorySpan all = {memory_.data(), bytes_};
  return measure_read_bandwidth(pool, peaks, {&all, 1});
}

double measure_read_bandwidth(ThreadPool& pool, const Peaks& peaks, std::span<const MemorySpan> spans) {
  const std::vector<MemorySpan> aligned = aligned_parts(spans);
  std::int64_t total = 0;
  for (const MemorySpan& span : aligned) total += span.size_bytes;
  if (total == 0) return 0;
  const std::int64_t part = round_up((total + pool.num_threads() - 1) / pool.num_threads(), kReadAlignment);
  // What fits into caches: one part per thread, several times, so that each stays in its core's cache.
  const bool is_small = part <= 4 * kPieceBytes;
  const std::int64_t piece_bytes = is_small ? part : kPieceBytes;
  const std::int64_t passes = is_small ? std::max<std::int64_t>(1, 16 * kPieceBytes / part) : 1;
  double best = 0;
  for (const std::int64_t prefetch : {0, 0, 1 << 10, 1 << 12, 1 << 14}) {
    const auto read_piece = [&](std::int64_t piece, Scratch&) {
      for (std::int64_t pass = 0; pass < passes; ++pass) {
        read_range(peaks, aligned, piece * piece_bytes, std::min(piece_bytes, total - piece * piece_bytes), prefetch);
      }
    };
    const double seconds = seconds_of([&] { pool.run((total + piece_bytes - 1) / piece_bytes, read_piece); });
    best = std::max(best, static_cast<double>(total * passes) / seconds);
  }
  return best;
}

}  // namespace fovea::cpu
