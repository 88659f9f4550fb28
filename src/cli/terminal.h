// SPDX-License-Identifier: Apache-2.0
// What the reader's terminal can show, colours for it, and progress lines.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

namespace fovea::cli {

enum class Color : unsigned char { kDefault, kRed, kGreen, kYellow, kBlue, kCyan, kBold, kDim };

/// A stream's abilities. color: a terminal, NO_COLOR unset, TERM not "dumb". unicode: the locale's encoding is UTF-8.
struct Terminal {
  bool is_tty = false;
  bool color = false;
  bool unicode = false;
  int width = 80;

  /// The text, in colour where colours are on.
  std::string paint(Color color, std::string_view text) const;
};

Terminal terminal_of(std::FILE* stream);

/// Progress on stderr, silent for the first two seconds: one line that is rewritten on a terminal, else a new line
/// every five seconds. finish (or the destructor) clears the rewritten line.
class Progress {
 public:
  explicit Progress(std::string label, int total_steps = 0);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// step counts from 1; what: the thing being worked on.
  void show(int step, std::string_view what);
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  int total_steps_;
  Terminal terminal_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_shown_ = {};
  bool line_is_open_ = false;
};

/// "1.5 GiB", "96 KiB", "12 B".
std::string bytes_text(double bytes);
/// "1.23 s", "45.6 ms", "789 us".
std::string seconds_text(double seconds);

}  // namespace fovea::cli
