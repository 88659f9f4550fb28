// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fovea::testing {

/// One test for every case of the table and every GPU card that takes it, judged by the float64 reference.
void register_cases();

}  // namespace fovea::testing
