// SPDX-License-Identifier: Apache-2.0
#include "verify/report.h"

#include <fmt/format.h>

namespace fovea {
namespace {

std::string ratio_text(double ours, double plain) {
  return plain > 0 ? fmt::format("{:.2f} x", ours / plain) : std::string("plain is exact");
}

}  // namespace

std::string comparison_text(const char* name, const Comparison& c, const Tolerance& t, const char* head_name) {
  std::string text = fmt::format("{:4} max error {:.3g} (plain {:.3g}, {}; limit {:.3g})\n", name, c.max_error(),
                                 c.plain_max_error(), ratio_text(c.max_error(), c.plain_max_error()), t.max_limit);
  text += fmt::format("{:4} RMS error {:.3g} (plain {:.3g}, {}; limit {:.3g})\n", "", c.rms_error(),
                      c.plain_rms_error(), ratio_text(c.rms_error(), c.plain_rms_error()), t.rms_limit);
  if (c.non_finite_mismatches() > 0) {
    text += fmt::format("{:4} {} values are NaN or infinite where they should not be, or the reverse\n", "",
                        c.non_finite_mismatches());
  }
  if (!passes(c, t)) {
    const Place p = c.worst();
    const std::string head = *head_name ? fmt::format(" {} {},", head_name, p.head) : std::string();
    text += fmt::format("{:4} worst at batch {},{} row {}, column {}: expected {:.9g}, got {:.9g}\n", "", p.batch, head,
                        p.row, p.column, c.worst_expected(), c.worst_ours());
  }
  return text;
}

}  // namespace fovea
