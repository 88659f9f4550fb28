// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/settings.h"

namespace fovea::cli {
namespace {

constexpr auto kSilence = std::chrono::seconds(2);
constexpr auto kRewriteEvery = std::chrono::milliseconds(100);
constexpr auto kNewLineEvery = std::chrono::seconds(5);

const char* code_of(Color color) {
  switch (color) {
    case Color::kRed: return "31";
    case Color::kGreen: return "32";
    case Color::kYellow: return "33";
    case Color::kBlue: return "34";
    case Color::kCyan: return "36";
    case Color::kBold: return "1";
    case Color::kDim: return "2";
    case Color::kDefault: break;
  }
  return "0";
}

}  // namespace

std::string Terminal::paint(Color which, std::string_view text) const {
  if (!color || which == Color::kDefault) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code_of(which), text);
}

Terminal terminal_of(std::FILE* stream) {
  Terminal terminal;
  const int descriptor = fileno(stream);
  terminal.is_tty = isatty(descriptor) == 1;
  const Settings settings = read_settings();
  terminal.color = terminal.is_tty && !settings.no_color && settings.terminal != "dumb";
  terminal.unicode = std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  winsize size = {};
  if (terminal.is_tty && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = std::clamp<int>(size.ws_col, 40, 200);
  }
  return terminal;
}

Progress::Progress(std::string label, int total_steps)
    : label_(std::move(label)), total_steps_(total_steps), terminal_(terminal_of(stderr)) {}

void Progress::show(int step, std::string_view what) {
  const auto now = Clock::now();
  const bool rewrites = terminal_.is_tty;
  if (now - start_ < kSilence || now - last_shown_ < (rewrites ? Clock::duration(kRewriteEvery) : kNewLineEvery))
    return;
  last_shown_ = now;
  std::string line = total_steps_ > 0 ? fmt::format("{} [{}/{}] {}", label_, step, total_steps_, what)
                                      : fmt::format("{} {}", label_, what);
  if (!rewrites) {
    fmt::print(stderr, "{}\n", line);
    return;
  }
  line.resize(std::min<std::size_t>(line.size(), static_cast<std::size_t>(terminal_.width - 1)));
  fmt::print(stderr, "\r{:<{}}", line, terminal_.width - 1);
  std::fflush(stderr);
  line_is_open_ = true;
}

void Progress::finish() {
  if (!line_is_open_) return;
  fmt::print(stderr, "\r{:<{}}\r", "", terminal_.width - 1);
  std::fflush(stderr);
  line_is_open_ = false;
}

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  const bool is_whole = bytes == static_cast<double>(static_cast<long long>(bytes));
  return is_whole || bytes >= 100 ? fmt::format("{:.0f} {}", bytes, kUnits[unit])
                                  : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string seconds_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} us", seconds * 1e6);
}

}  // namespace fovea::cli
