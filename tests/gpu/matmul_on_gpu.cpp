// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/matmul_on_gpu.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "matmul/kernels.h"
#include "problem/describe_matmul.h"

namespace fovea::testing {

std::string name_of_kind(const Kind& kind) {
  const char* scale = kind.scale == ScaleKind::kPerBlock    ? "_blocks"
                      : kind.scale == ScaleKind::kPerTensor ? "_scaled"
                                                            : "";
  return std::string(name_of(kind.dtype)) + (kind.math == Math::kFast ? "_fast" : "") + scale;
}

MatmulCase exact_product(const Kind& kind, int m, int n, int k) {
  MatmulCase c;
  c.name = "product";
  c.dtype = kind.dtype, c.math = kind.math, c.scale = kind.scale;
  if (kind.dtype == DType::kE4M3) c.d_dtype = DType::kF32;
  c.m = m, c.n = n, c.k = k;
  c.fill = MatmulFill::kIntegers;
  return c;
}

DeviceMatmul::DeviceMatmul(MatmulData& data) : tensors_(data.tensors()), hosts_(data.all()) {
  for (HostTensor* host : hosts_) copies_.emplace_back(host->bytes);
  for (TensorView* view :
       {&tensors_.a, &tensors_.b, &tensors_.c, &tensors_.d, &tensors_.bias, &tensors_.a_scale, &tensors_.b_scale}) {
    if (!view->present()) continue;
    view->device = {DeviceKind::kCUDA, 0};
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (view->data != hosts_[i]->view.data || view->data == nullptr) continue;
      view->data = static_cast<std::byte*>(copies_[i].data()) + hosts_[i]->offset;
      break;
    }
  }
}

void DeviceMatmul::fetch() {
  gpu().synchronize();
  for (std::size_t i = 0; i < hosts_.size(); ++i) copies_[i].fetch(hosts_[i]->bytes);
}

namespace {

/// Inputs and what is right, kept from card to card: the reference takes longer than the kernels.
struct JudgedMatmul {
  MatmulData data;
  ExpectedMatmul expected;
  explicit JudgedMatmul(const MatmulCase& c) : data(c), expected(expect(data)) {}
};

JudgedMatmul& judged(const MatmulCase& c) {
  static std::unique_ptr<JudgedMatmul> last;
  static std::string last_name;
  const std::string name = to_string(c);
  if (!last || name != last_name) last = std::make_unique<JudgedMatmul>(c);
  last_name = name;
  return *last;
}

class MatmulCaseOnGpu : public ::testing::Test {
 public:
  MatmulCaseOnGpu(MatmulCase c, const MatmulKernel* card) : case_(std::move(c)), card_(card) {}
  void TestBody() override {
    JudgedMatmul& j = judged(case_);
    j.data.reset();
    DeviceMatmul on_gpu(j.data);
    MatmulOptions options = j.data.options;
    options.kernel = card_->name;
    matmul(gpu().runtime, on_gpu.tensors(), options);
    on_gpu.fetch();
    EXPECT_EQ(judge(j.data, j.expected), "");
  }

 private:
  MatmulCase case_;
  const MatmulKernel* card_;
};

}  // namespace

bool takes(const MatmulKernel& card, const MatmulCase& c) {
  MatmulData data(c, kUnfilled);
  MatmulTensors tensors = data.tensors();
  const bool c_is_d = tensors.c.present() && tensors.c.data == tensors.d.data;
  std::uintptr_t place = 0;  // far apart, and as aligned as device memory: no data is read here
  for (TensorView* view :
       {&tensors.a, &tensors.b, &tensors.d, &tensors.c, &tensors.bias, &tensors.a_scale, &tensors.b_scale}) {
    place += std::uintptr_t{1} << 40;
    if (view->present()) view->device = {DeviceKind::kCUDA, 0}, view->data = reinterpret_cast<void*>(place);
  }
  if (c_is_d) tensors.c.data = tensors.d.data;
  return card.supports(describe_matmul(tensors, data.options, /*require_data=*/false).problem, gpu().info()).ok;
}

void register_matmul_cases() {
  constexpr std::pair<DType, Math> kKinds[] = {{DType::kBF16, Math::kExact},
                                               {DType::kF16, Math::kExact},
                                               {DType::kF32, Math::kExact},
                                               {DType::kF32, Math::kFast},
                                               {DType::kE4M3, Math::kExact}};
  for (const auto& [dtype, math] : kKinds) {
    int number = 0;  // names of the table repeat
    for (const MatmulCase& c : matmul_cases(dtype, math)) {
      ++number;
      for (const MatmulKernel* card : matmul_kernels()) {
        if (!takes(*card, c)) continue;
        const std::string name = std::string(card->name) + "/" + name_of(dtype) + (math == Math::kFast ? "_fast" : "") +
                                 "/" + std::to_string(number) + " " + c.name;
        ::testing::RegisterTest("MatmulCases", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                                [c, card]() -> ::testing::Test* { return new MatmulCaseOnGpu(c, card); });
      }
    }
  }
}

}  // namespace fovea::testing
