// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/gpu.h"

namespace fovea::testing {

Gpu& gpu() {
  static auto* const shared = new Gpu();  // outlives every test, as the default runtime would
  return *shared;
}

void Gpu::synchronize(Stream stream) {
  const cuda::ScopedContext scope(device());
  check(api().cuStreamSynchronize(static_cast<cuda::CUstream>(stream.handle)), "cuStreamSynchronize");
}

std::shared_ptr<const cuda::Kernel> Gpu::kernel(const std::string& header, const std::string& entry,
                                                const std::string& parameters, const std::string& body, int threads) {
  const jit::Unit unit = {
      .entry = entry, .header = header, .config = "0", .parameters = parameters, .body = body, .threads = threads};
  const auto compiled = runtime.impl().compiler.compile(unit, info().architecture);
  return cuda::load_kernel(device(), compiled->cubin, entry);
}

void run_captured(const OwnStream& stream, int times, const std::function<void()>& calls) {
  const cuda::ScopedContext scope(gpu().device());
  const cuda::DriverApi& api = gpu().api();
  cuda::CUgraph graph = nullptr;
  cuda::CUgraphExec executable = nullptr;
  gpu().check(api.cuStreamBeginCapture(stream.native(), cuda::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
              "cuStreamBeginCapture");
  calls();
  gpu().check(api.cuStreamEndCapture(stream.native(), &graph), "cuStreamEndCapture");
  gpu().check(api.cuGraphInstantiateWithFlags(&executable, graph, 0), "cuGraphInstantiateWithFlags");
  for (int i = 0; i < times; ++i) gpu().check(api.cuGraphLaunch(executable, stream.native()), "cuGraphLaunch");
  gpu().synchronize(stream);
  api.cuGraphExecDestroy(executable);
  api.cuGraphDestroy(graph);
}

DeviceCopy::DeviceCopy(std::span<const std::byte> bytes) : buffer_(gpu().device(), bytes.size()) { put(bytes); }

void DeviceCopy::put(std::span<const std::byte> bytes) const {
  if (bytes.empty()) return;
  const cuda::ScopedContext scope(gpu().device());
  gpu().check(gpu().api().cuMemcpyHtoDAsync(buffer_.address(), bytes.data(), bytes.size(), nullptr),
              "cuMemcpyHtoDAsync");
  gpu().synchronize();
}

void DeviceCopy::fetch(std::span<std::byte> bytes) const {
  if (bytes.empty()) return;
  const cuda::ScopedContext scope(gpu().device());
  gpu().check(gpu().api().cuMemcpyDtoHAsync(bytes.data(), buffer_.address(), bytes.size(), nullptr),
              "cuMemcpyDtoHAsync");
  gpu().synchronize();
}

DeviceCase::DeviceCase(CaseData& data) : data_(data), tensors_(data.tensors()), hosts_(data.all()) {
  for (HostTensor* host : hosts_) copies_.emplace_back(host->bytes);
  for (TensorView* view :
       {&tensors_.q, &tensors_.k, &tensors_.v, &tensors_.o, &tensors_.lse, &tensors_.seq_lens_q, &tensors_.seq_lens_k,
        &tensors_.cu_seqlens_q, &tensors_.cu_seqlens_k, &tensors_.page_table}) {
    if (view->present()) move(*view);
  }
}

void DeviceCase::move(TensorView& view) {
  view.device = {DeviceKind::kCUDA, 0};
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    if (view.data != hosts_[i]->view.data || view.data == nullptr) continue;
    view.data = static_cast<std::byte*>(copies_[i].data()) + hosts_[i]->offset;
    return;
  }
}

void DeviceCase::fetch() {
  gpu().synchronize();
  for (std::size_t i = 0; i < hosts_.size(); ++i) copies_[i].fetch(hosts_[i]->bytes);
}

}  // namespace fovea::testing
