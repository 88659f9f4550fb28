// SPDX-License-Identifier: Apache-2.0
#include "tests/emulated_gpu/engine/report.h"

#include <signal.h>

#include <cstdio>

#include "tests/emulated_gpu/engine/launch.h"

namespace fovea::emulated {
namespace {

std::string describe_wait(const Fiber& fiber) {
  if (fiber.has_ended) return "ended";
  if (!fiber.wait.what) return "can run";
  char text[160];
  std::snprintf(text, sizeof text, fiber.wait.what, fiber.wait.first, fiber.wait.second);
  return text;
}

/// The warp's lanes, those with the same text together.
std::string describe_warp(const Warp& warp) {
  std::string text;
  for (int lane = 0; lane < kWarp && warp.lanes[lane];) {
    const std::string wait = describe_wait(*warp.lanes[lane]);
    int last = lane;
    while (last + 1 < kWarp && warp.lanes[last + 1] && describe_wait(*warp.lanes[last + 1]) == wait) ++last;
    if (!text.empty()) text += "; ";
    if (lane != 0 || (last + 1 < kWarp && warp.lanes[last + 1])) {
      text +=
          "lane" + (last > lane ? "s " + std::to_string(lane) + " to " : std::string(" ")) + std::to_string(last) + " ";
    }
    text += wait;
    lane = last + 1;
  }
  return text;
}

}  // namespace

std::string hex(unsigned long long number) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", number);
  return text;
}

std::string describe_place() {
  std::string text = " in " + launch->shape.name;
  if (!engine.current) return text;
  const Fiber& fiber = self();
  return text + ", block " + std::to_string(fiber.in->number) + ", thread " + std::to_string(fiber.number) + " (warp " +
         std::to_string(fiber.number / kWarp) + ", lane " + std::to_string(fiber.lane) + ")";
}

std::string describe_deadlock() {
  std::string text = "deadlock of " + launch->shape.name;
  for (const Block& block : launch->blocks) {
    text += "\n  block " + std::to_string(block.number) +
            (launch->blocks.size() > 1 ? ", rank " + std::to_string(block.rank) : "");
    for (std::size_t i = 0; i < block.warps.size(); ++i) {
      text += "\n    warp " + std::to_string(i) + ": " + describe_warp(block.warps[i]);
    }
  }
  return text + "\n  found";
}

std::string describe_fault(int signal, const void* address) {
  const char* what = signal == SIGILL   ? "an address that is not aligned for its type, or an index beyond an array,"
                     : signal == SIGFPE ? "an arithmetic fault"
                                        : "an access to memory that is not allocated, or not aligned,";
  return std::string(what) + " at " + hex(reinterpret_cast<std::uintptr_t>(address)) + describe_place();
}

}  // namespace fovea::emulated
