// SPDX-License-Identifier: Apache-2.0
// Matrix multiplication from the front door: the case table, on every instruction set of this processor and with one
// and several threads.
#include "fovea/matmul.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "contract/dtype.h"
#include "cpu/isa.h"
#include "fovea/runtime.h"
#include "tests/support/matmul_cases.h"

namespace fovea {
namespace {

using testing::MatmulCase;
using testing::MatmulData;

TEST(Matmul, the_case_table_is_right_on_every_instruction_set_and_number_of_threads) {
  const cpu::Processor processor = cpu::detect_processor();
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const MatmulCase& c : testing::matmul_cases(dtype)) {
      MatmulData data(c);
      const ExpectedMatmul expected = expect(data);
      for (const cpu::Unit& unit : cpu::units()) {
        if (!unit.runs_on(processor.has)) continue;
        for (const int threads : {1, 3}) {
          static std::map<std::pair<std::string_view, int>, std::unique_ptr<Runtime>> runtimes;
          auto& runtime = runtimes[{unit.name, threads}];
          if (!runtime) runtime = std::make_unique<Runtime>(RuntimeOptions{threads, std::string(unit.name), {}, {}});
          data.reset();
          matmul(*runtime, data.tensors(), data.options);
          EXPECT_EQ(judge(data, expected), "") << unit.name << ", " << threads << " threads";
        }
      }
    }
  }
}

}  // namespace
}  // namespace fovea
