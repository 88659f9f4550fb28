// SPDX-License-Identifier: Apache-2.0
// matmul_time: operands of the search's own, and one measurement per tile, in turn.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "contract/dtype.h"
#include "cpu/aligned_buffer.h"
#include "cuda/device_clock.h"
#include "fovea/matmul.h"
#include "measure/stopwatch.h"
#include "problem/describe_matmul.h"
#include "problem/tensor_checks.h"
#include "runtime.h"

namespace fovea {
namespace {

constexpr int kRounds = 5;
// On a GPU: calls of one measurement, and what the host takes to enqueue one at most. So many copies of the operands
// take turns that a call rarely finds its own in the L2 cache, as in a network whose layers have weights of their own.
constexpr int kMostCalls = 16;
constexpr double kHostUs = 8;

/// Random numbers between -1 and 1 in every dtype, from a small generator: equal or zero operands draw less power and
/// run faster than real ones.
void fill(void* data, std::int64_t count, DType dtype) {
  std::uint64_t state = 0x9e3779b97f4a7c15ull;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const float x = static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f;
    if (dtype == DType::kF32) {
      static_cast<float*>(data)[i] = x;
    } else if (dtype == DType::kE4M3) {
      static_cast<std::uint8_t*>(data)[i] = float_to_e4m3(x);
    } else {
      static_cast<std::uint16_t*>(data)[i] = dtype == DType::kBF16 ? float_to_bf16(x) : float_to_fp16(x);
    }
  }
}

/// Memory behind every view of a call, on the views' device; on a GPU several times over.
class Operands {
 public:
  Operands(Runtime& runtime, const MatmulTensors& shapes) : runtime_(runtime) {
    const bool c_is_d = shapes.c.present() && shapes.c.data && shapes.c.data == shapes.d.data;
    do {
      MatmulTensors& copy = copies_.emplace_back(shapes);
      for (TensorView* view : {&copy.a, &copy.b, &copy.c, &copy.bias, &copy.d, &copy.a_scale, &copy.b_scale}) {
        if (view->present()) allocate(*view);
      }
      if (c_is_d) copy.c = copy.d;
    } while (wants_another(shapes.a.device));
  }
  const MatmulTensors& next() { return copies_[static_cast<std::size_t>(turn_++) % copies_.size()]; }

 private:
  bool wants_another(const Device& device) {
    if (device.kind != DeviceKind::kCUDA || copies_.size() >= kMostCalls) return false;
    return bytes_ < 2 * runtime_.impl().device_info(device).l2_bytes;
  }

  void allocate(TensorView& view) {
    const std::int64_t bytes = extent_bytes(view);
    cpu::AlignedBuffer host(static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)));
    fill(host.data(), bytes / size_bytes(view.dtype), view.dtype);
    view.data = host.data();
    bytes_ += bytes;
    if (view.device.kind != DeviceKind::kCUDA || bytes == 0) {
      host_.push_back(std::move(host));
      return;
    }
    cuda::DeviceContext& device = runtime_.impl().devices.context(view.device.index);
    const auto& copy = device_.emplace_back(device, static_cast<std::size_t>(bytes));
    const cuda::ScopedContext scope(device);
    device.driver->check(
        device.driver->api.cuMemcpyHtoDAsync(copy.address(), host.data(), static_cast<std::size_t>(bytes), nullptr),
        "cuMemcpyHtoDAsync", "matmul_time");
    device.driver->check(device.driver->api.cuStreamSynchronize(nullptr), "cuStreamSynchronize", "matmul_time");
    view.data = copy.data();
  }

  Runtime& runtime_;
  std::vector<MatmulTensors> copies_;
  std::vector<cpu::AlignedBuffer> host_;
  std::vector<cuda::DeviceBuffer> device_;
  std::int64_t bytes_ = 0;
  int turn_ = 0;
};

/// Calls that last `seconds` together, from one warm call.
int calls_for(double seconds, double seconds_of_one, double most) {
  return static_cast<int>(std::clamp(seconds / std::max(seconds_of_one, 1e-7), 1.0, most));
}

}  // namespace

std::vector<MatmulTiming> matmul_time(Runtime& runtime, const MatmulTensors& tensors, const MatmulOptions& options,
                                      const std::vector<MatmulTile>& tiles, double seconds_per_tile) {
  describe_matmul(tensors, options, /*require_data=*/false);
  Operands operands(runtime, tensors);
  MatmulOptions with_tile = options;
  std::optional<cuda::DeviceClock> device_clock;
  const Device& device = tensors.a.device;
  if (device.kind == DeviceKind::kCUDA) device_clock.emplace(runtime.impl().devices.context(device.index));
  const auto seconds_of = [&](const MatmulTile& tile, int calls) {
    with_tile.tile = tile;
    const auto call_all = [&] {
      for (int i = 0; i < calls; ++i) matmul(runtime, operands.next(), with_tile);
    };
    if (device_clock) return device_clock->seconds(kHostUs * calls, call_all) / calls;
    const double start = now_seconds();
    call_all();
    return (now_seconds() - start) / calls;
  };
  std::vector<MatmulTiming> timings;
  std::vector<int> calls;
  for (const MatmulTile& tile : tiles) {
    MatmulTiming timing;
    timing.tile = tile;
    calls.push_back(0);
    try {
      seconds_of(tile, 1);  // plans, and compiles on a GPU
      calls.back() = calls_for(seconds_per_tile / kRounds, seconds_of(tile, 1), device_clock ? kMostCalls : 1e5);
    } catch (const Error& error) {
      timing.failure = error.what();
    }
    timings.push_back(std::move(timing));
  }
  std::vector<std::vector<double>> samples(tiles.size());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      if (calls[i] > 0) samples[i].push_back(seconds_of(tiles[i], calls[i]));
    }
  }
  for (std::size_t i = 0; i < tiles.size(); ++i) timings[i].seconds = summarize(samples[i]).minimum;
  return timings;
}

}  // namespace fovea
