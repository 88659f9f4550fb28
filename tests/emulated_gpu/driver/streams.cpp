// SPDX-License-Identifier: Apache-2.0
// Streams, events and graphs. Everything runs at once and in order; a captured stream records instead.
#include <cstdio>
#include <set>

#include "tests/emulated_gpu/driver/state.h"

namespace fovea::emulated {
namespace {

using namespace cuda;

std::set<Stream*>& streams() {
  static auto* const all = new std::set<Stream*>();
  return *all;
}

CUresult create(CUstream* stream, unsigned) {
  const std::lock_guard lock(state().mutex);
  if (state().sticky != kOk) return state().sticky;
  if (current_device() < 0) return kInvalidContext;
  auto* made = new Stream();
  made->device = current_device();
  made->id = state().next_id++;
  streams().insert(made);
  *stream = reinterpret_cast<CUstream>(made);
  return kOk;
}
CUresult destroy(CUstream stream) {
  const std::lock_guard lock(state().mutex);
  auto* found = reinterpret_cast<Stream*>(stream);
  if (streams().erase(found) == 0) return kInvalidHandle;
  delete found;
  return kOk;
}
CUresult synchronize(CUstream stream) {
  const Stream* s = stream_of(stream);
  if (!s) return kInvalidHandle;
  return s->capture ? kCaptureUnsupported : state().sticky;
}
CUresult synchronize_context() { return state().sticky; }
CUresult get_context(CUstream stream, CUcontext* context) {
  const Stream* s = stream_of(stream);
  if (!s) return kInvalidHandle;
  *context = context_of(s->device);
  return state().sticky;
}
CUresult get_id(CUstream stream, unsigned long long* id) {
  const Stream* s = stream_of(stream);
  if (!s) return kInvalidHandle;
  if (s->capture) return kCaptureUnsupported;
  *id = s->id;
  return state().sticky;
}

CUresult capture_info(CUstream stream, CUstreamCaptureStatus* status, unsigned long long* id, CUgraph*, const void**,
                      std::size_t*) {
  const Stream* s = stream_of(stream);
  if (!s) return kInvalidHandle;
  *status = static_cast<CUstreamCaptureStatus>(s->capture ? 1 : 0);
  if (id && s->capture) *id = s->capture_id;
  return state().sticky;
}
CUresult begin_capture(CUstream stream, CUstreamCaptureMode) {
  Stream* s = stream_of(stream);
  if (!s || reinterpret_cast<std::uintptr_t>(stream) <= 2 || s->capture) return kCaptureUnsupported;
  s->capture = std::make_unique<Graph>();
  s->capture_id = state().next_id++;
  return kOk;
}
CUresult end_capture(CUstream stream, CUgraph* graph) {
  Stream* s = stream_of(stream);
  if (!s || !s->capture) return kInvalidValue;
  *graph = reinterpret_cast<CUgraph>(s->capture.release());
  return kOk;
}
CUresult exchange_mode(CUstreamCaptureMode* mode) {
  static thread_local CUstreamCaptureMode current = static_cast<CUstreamCaptureMode>(0);
  std::swap(*mode, current);
  return kOk;
}
CUresult instantiate(CUgraphExec* executable, CUgraph graph, unsigned long long) {
  *executable = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return kOk;
}
CUresult launch_graph(CUgraphExec executable, CUstream stream) {
  const Graph* graph = reinterpret_cast<Graph*>(executable);
  return run_or_record(stream, [steps = graph->steps] {
    for (const auto& step : steps) {
      if (const CUresult result = step(); result != kOk) return result;
    }
    return kOk;
  });
}
CUresult destroy_executable(CUgraphExec executable) {
  delete reinterpret_cast<Graph*>(executable);
  return kOk;
}
CUresult destroy_graph(CUgraph graph) {
  delete reinterpret_cast<Graph*>(graph);
  return kOk;
}

CUresult create_event(CUevent* event, unsigned) {
  *event = reinterpret_cast<CUevent>(new Event());
  return state().sticky;
}
CUresult destroy_event(CUevent event) {
  delete reinterpret_cast<Event*>(event);
  return kOk;
}
CUresult record_event(CUevent event, CUstream stream) {
  return run_or_record(stream, [event] {
    reinterpret_cast<Event*>(event)->when = std::chrono::steady_clock::now();
    return kOk;
  });
}
CUresult synchronize_event(CUevent) { return state().sticky; }
CUresult elapsed(float* ms, CUevent from, CUevent to) {
  const auto time = reinterpret_cast<Event*>(to)->when - reinterpret_cast<Event*>(from)->when;
  *ms = std::chrono::duration<float, std::milli>(time).count();
  return state().sticky;
}

}  // namespace

Stream* stream_of(CUstream stream) {
  const std::lock_guard lock(state().mutex);
  if (reinterpret_cast<std::uintptr_t>(stream) <= 2) {
    const CUdevice device = current_device();
    return device < 0 ? nullptr : state().default_streams[static_cast<std::size_t>(device)].get();
  }
  auto* found = reinterpret_cast<Stream*>(stream);
  return streams().contains(found) ? found : nullptr;
}

CUresult run_or_record(CUstream stream, std::function<CUresult()> step) {
  if (state().sticky != kOk) return state().sticky;
  Stream* s = stream_of(stream);
  if (!s) return kInvalidHandle;
  if (!s->capture) return step();
  s->capture->steps.push_back(std::move(step));
  return kOk;
}

CUresult poison(const std::string& text) {
  std::fprintf(stderr, "emulated GPU: %s\n", text.c_str());
  const std::lock_guard lock(state().mutex);
  state().sticky = text.find("not allocated") != std::string::npos ? kIllegalAddress : kLaunchFailed;
  return kOk;  // as with a GPU, which tells at the next call
}

std::vector<EntryPoint> stream_entry_points() {
  return {{"cuCtxSynchronize", address(synchronize_context)},
          {"cuStreamCreate", address(create)},
          {"cuStreamDestroy", address(destroy)},
          {"cuStreamSynchronize", address(synchronize)},
          {"cuStreamGetCtx", address(get_context)},
          {"cuStreamGetId", address(get_id)},
          {"cuStreamGetCaptureInfo", address(capture_info)},
          {"cuStreamBeginCapture", address(begin_capture)},
          {"cuStreamEndCapture", address(end_capture)},
          {"cuThreadExchangeStreamCaptureMode", address(exchange_mode)},
          {"cuGraphInstantiateWithFlags", address(instantiate)},
          {"cuGraphLaunch", address(launch_graph)},
          {"cuGraphExecDestroy", address(destroy_executable)},
          {"cuGraphDestroy", address(destroy_graph)},
          {"cuEventCreate", address(create_event)},
          {"cuEventDestroy", address(destroy_event)},
          {"cuEventRecord", address(record_event)},
          {"cuEventSynchronize", address(synchronize_event)},
          {"cuEventElapsedTime", address(elapsed)}};
}

}  // namespace fovea::emulated
