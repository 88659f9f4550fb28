// SPDX-License-Identifier: Apache-2.0
// The C ABI: what it translates, what it refuses, and that structs may be older or newer than the library.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "fovea/attention.h"
#include "fovea/fovea.h"

extern "C" {
void fovea_test_layout(size_t sizes[6]);
fovea_status fovea_test_forward(float o[4]);
fovea_status fovea_test_matmul(float d[4]);
}

namespace fovea {
namespace {

/// A small call that works; tests spoil one thing of it.
struct Call {
  static constexpr std::int64_t kShape[4] = {1, 3, 2, 4};
  std::vector<float> q = std::vector<float>(24, 0.5f), k = q, v = q, o = std::vector<float>(24, -1.0f);
  fovea_tensor q_view = fovea_tensor_contiguous(q.data(), FOVEA_F32, 4, kShape);
  fovea_tensor k_view = fovea_tensor_contiguous(k.data(), FOVEA_F32, 4, kShape);
  fovea_tensor v_view = fovea_tensor_contiguous(v.data(), FOVEA_F32, 4, kShape);
  fovea_tensor o_view = fovea_tensor_contiguous(o.data(), FOVEA_F32, 4, kShape);
  fovea_attention_tensors tensors;
  fovea_attention_options options;

  Call() {
    fovea_attention_tensors_init(&tensors);
    fovea_attention_options_init(&options);
    tensors.q = &q_view;
    tensors.k = &k_view;
    tensors.v = &v_view;
    tensors.o = &o_view;
  }
  fovea_status run() { return fovea_attention_forward(nullptr, &tensors, &options, nullptr); }
};

void expect_refused(fovea_status status, const char* field, const char* part_of_message) {
  EXPECT_EQ(status, FOVEA_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error()->field, field);
  EXPECT_NE(std::string(fovea_last_error()->message).find(part_of_message), std::string::npos)
      << fovea_last_error()->message;
}

TEST(CApi, a_c_program_computes_causal_attention) {
  float o[4] = {};
  ASSERT_EQ(fovea_test_forward(o), FOVEA_OK) << fovea_last_error()->message;
  EXPECT_NEAR(o[0], 5.0f, 1e-6f);
  EXPECT_NEAR(o[1], 6.0f, 1e-6f);
  // Row 1: scores (3, 4) / sqrt(2).
  const float weight = 1.0f / (1.0f + std::exp(-1.0f / std::sqrt(2.0f)));
  EXPECT_NEAR(o[2], 5.0f + 2.0f * weight, 1e-6f);
  EXPECT_NEAR(o[3], 6.0f + 2.0f * weight, 1e-6f);
}

TEST(CApi, a_c_program_multiplies_matrices) {
  float d[4] = {};
  ASSERT_EQ(fovea_test_matmul(d), FOVEA_OK) << fovea_last_error()->message;
  EXPECT_EQ(d[0], 2.0f * (1 * 5 + 2 * 7) + 1);
  EXPECT_EQ(d[1], 0.0f);
  EXPECT_EQ(d[2], 2.0f * (3 * 5 + 4 * 7) + 1);
  EXPECT_EQ(d[3], 0.0f);
}

TEST(CApi, a_wrong_matrix_product_names_its_operand) {
  float numbers[6] = {};
  const std::int64_t shape[2] = {2, 3};
  const fovea_tensor view = fovea_tensor_contiguous(numbers, FOVEA_F32, 2, shape);
  fovea_matmul_tensors tensors;
  fovea_matmul_tensors_init(&tensors);
  tensors.a = tensors.b = tensors.d = &view;
  expect_refused(fovea_matmul(nullptr, &tensors, nullptr, nullptr), "b", "as many rows as a has columns (3)");
  fovea_matmul_options options;
  fovea_matmul_options_init(&options);
  options.persistent = 3;
  expect_refused(fovea_matmul(nullptr, &tensors, &options, nullptr), "persistent", "FOVEA_AUTO");
}

TEST(CApi, fp8_operands_have_scales_and_an_older_caller_has_none) {
  std::uint8_t a[2] = {0x38, 0x40}, b[2] = {0x44, 0xb8};  // 1, 2; 3, -1
  float d[1] = {}, scales[2] = {0.5f, 8.0f};
  const std::int64_t row[2] = {1, 2}, column[2] = {2, 1}, one[2] = {1, 1};
  const fovea_tensor of_a = fovea_tensor_contiguous(a, FOVEA_E4M3, 2, row);
  const fovea_tensor of_b = fovea_tensor_contiguous(b, FOVEA_E4M3, 2, column);
  const fovea_tensor of_d = fovea_tensor_contiguous(d, FOVEA_F32, 2, one);
  const fovea_tensor a_scale = fovea_tensor_contiguous(&scales[0], FOVEA_F32, 1, one);
  const fovea_tensor b_scale = fovea_tensor_contiguous(&scales[1], FOVEA_F32, 1, one);
  fovea_matmul_tensors tensors;
  fovea_matmul_tensors_init(&tensors);
  tensors.a = &of_a, tensors.b = &of_b, tensors.d = &of_d;
  tensors.a_scale = &a_scale, tensors.b_scale = &b_scale;
  ASSERT_EQ(fovea_matmul(nullptr, &tensors, nullptr, nullptr), FOVEA_OK) << fovea_last_error()->message;
  EXPECT_EQ(d[0], 4.0f);
  tensors.struct_size = offsetof(fovea_matmul_tensors, a_scale);  // what lies behind is not read
  ASSERT_EQ(fovea_matmul(nullptr, &tensors, nullptr, nullptr), FOVEA_OK) << fovea_last_error()->message;
  EXPECT_EQ(d[0], 1.0f);
}

TEST(CApi, c_and_cpp_agree_on_the_layout_of_every_struct) {
  size_t sizes[6];
  fovea_test_layout(sizes);
  EXPECT_EQ(sizes[0], sizeof(fovea_tensor));
  EXPECT_EQ(sizes[1], sizeof(fovea_runtime_options));
  EXPECT_EQ(sizes[2], sizeof(fovea_attention_tensors));
  EXPECT_EQ(sizes[3], sizeof(fovea_attention_options));
  EXPECT_EQ(sizes[4], offsetof(fovea_tensor, strides));
  EXPECT_EQ(sizes[5], offsetof(fovea_attention_options, kernel));
}

TEST(CApi, every_option_reaches_the_call) {
  Call c;
  c.options.has_softmax_scale = 1;
  c.options.softmax_scale = 0.25f;
  c.options.softcap = 5.0f;
  c.options.has_window_left = 1;
  c.options.window_left = 1;
  c.options.has_window_right = 1;
  c.options.window_right = 0;
  for (int i = 0; i < 24; ++i) c.q[i] = c.k[i] = c.v[i] = 0.1f * static_cast<float>(i);
  ASSERT_EQ(c.run(), FOVEA_OK) << fovea_last_error()->message;

  std::vector<float> expected(24);
  AttentionTensors tensors;
  tensors.q = TensorView::contiguous(c.q.data(), DType::kF32, {1, 3, 2, 4});
  tensors.k = TensorView::contiguous(c.k.data(), DType::kF32, {1, 3, 2, 4});
  tensors.v = TensorView::contiguous(c.v.data(), DType::kF32, {1, 3, 2, 4});
  tensors.o = TensorView::contiguous(expected.data(), DType::kF32, {1, 3, 2, 4});
  AttentionOptions options;
  options.softmax_scale = 0.25f;
  options.softcap = 5.0f;
  options.window_left = 1;
  options.window_right = 0;
  attention_forward(tensors, options);
  EXPECT_EQ(c.o, expected);
}

TEST(CApi, zeroed_options_and_no_options_are_the_defaults) {
  Call a, b;
  ASSERT_EQ(fovea_attention_forward(nullptr, &a.tensors, nullptr, nullptr), FOVEA_OK) << fovea_last_error()->message;
  std::memset(&b.options, 0, sizeof b.options);
  b.options.struct_size = sizeof b.options;
  ASSERT_EQ(b.run(), FOVEA_OK) << fovea_last_error()->message;
  EXPECT_EQ(a.o, b.o);
}

TEST(CApi, an_older_callers_smaller_struct_takes_defaults_for_the_rest) {
  Call c;
  c.options.struct_size = offsetof(fovea_attention_options, max_seqlen_q);
  c.options.block_q = -77;  // beyond what the older caller has: must not be read
  c.options.kernel = "no such kernel";
  EXPECT_EQ(c.run(), FOVEA_OK) << fovea_last_error()->message;
}

TEST(CApi, a_newer_callers_larger_struct_is_accepted_while_its_new_fields_are_zero) {
  struct {
    fovea_attention_options known;
    std::int64_t unknown;
  } newer = {};
  Call c;
  newer.known = c.options;
  newer.known.struct_size = sizeof newer;
  EXPECT_EQ(fovea_attention_forward(nullptr, &c.tensors, &newer.known, nullptr), FOVEA_OK);
  newer.unknown = 1;
  expect_refused(fovea_attention_forward(nullptr, &c.tensors, &newer.known, nullptr), "struct_size", "newer library");
}

TEST(CApi, a_struct_that_was_not_initialised_is_refused) {
  Call c;
  c.options.struct_size = 0;
  expect_refused(c.run(), "struct_size", "fovea_attention_options_init");
  c.options.struct_size = static_cast<size_t>(-1);
  expect_refused(c.run(), "struct_size", "fovea_attention_options_init");
}

TEST(CApi, null_arguments_are_named) {
  Call c;
  expect_refused(fovea_attention_forward(nullptr, nullptr, nullptr, nullptr), "tensors", "NULL");
  c.tensors.k = nullptr;
  expect_refused(c.run(), "k", "k is NULL");
  expect_refused(fovea_runtime_create(nullptr, nullptr), "runtime", "NULL");
  expect_refused(fovea_runtime_info(nullptr, 0, nullptr), "text", "NULL");
  expect_refused(fovea_attention_explain(nullptr, &c.tensors, nullptr, 0, nullptr, nullptr), "text", "NULL");
  fovea_attention_options_init(nullptr);
  fovea_runtime_destroy(nullptr);
  fovea_string_free(nullptr);
}

TEST(CApi, numbers_outside_an_enumeration_and_impossible_shapes_are_refused) {
  Call c;
  c.options.layout = 9;
  expect_refused(c.run(), "layout", "layout is 9");
  c.options.layout = FOVEA_BSHD;
  c.q_view.dtype = -1;
  expect_refused(c.run(), "q", "q is -1");
  c.q_view.dtype = FOVEA_F32;
  c.v_view.ndim = 6;
  expect_refused(c.run(), "v", "ndim 6");
  c.v_view.ndim = 4;
  c.options.reserved = 1;
  expect_refused(c.run(), "reserved", "must be 0");
  EXPECT_EQ(c.o[0], -1.0f);  // nothing was written
}

TEST(CApi, the_detail_belongs_to_the_thread_that_failed) {
  expect_refused(fovea_attention_forward(nullptr, nullptr, nullptr, nullptr), "tensors", "NULL");
  std::thread([] { EXPECT_EQ(fovea_last_error()->code, FOVEA_OK); }).join();
  EXPECT_EQ(fovea_last_error()->code, FOVEA_INVALID_ARGUMENT);
}

TEST(CApi, a_runtime_of_ones_own_has_its_own_settings) {
  fovea_runtime_options options;
  fovea_runtime_options_init(&options);
  options.num_threads = 1;
  options.cpu_isa = "baseline";
  fovea_runtime* runtime = nullptr;
  ASSERT_EQ(fovea_runtime_create(&options, &runtime), FOVEA_OK) << fovea_last_error()->message;
  char* text = nullptr;
  ASSERT_EQ(fovea_runtime_info(runtime, 1, &text), FOVEA_OK) << fovea_last_error()->message;
  EXPECT_NE(std::string(text).find("baseline"), std::string::npos) << text;
  fovea_string_free(text);
  Call c;
  EXPECT_EQ(fovea_attention_forward(runtime, &c.tensors, &c.options, nullptr), FOVEA_OK);
  fovea_runtime_destroy(runtime);

  options.cpu_isa = "nonsense";
  runtime = nullptr;
  EXPECT_EQ(fovea_runtime_create(&options, &runtime), FOVEA_INVALID_ARGUMENT);
  EXPECT_EQ(runtime, nullptr);
}

TEST(CApi, explain_gives_text_and_json) {
  Call c;
  char* text = nullptr;
  ASSERT_EQ(fovea_attention_explain(nullptr, &c.tensors, &c.options, 0, nullptr, &text), FOVEA_OK)
      << fovea_last_error()->message;
  EXPECT_NE(std::string(text).find("attention_forward_cpu"), std::string::npos) << text;
  fovea_string_free(text);
  ASSERT_EQ(fovea_attention_explain(nullptr, &c.tensors, &c.options, 1, nullptr, &text), FOVEA_OK);
  EXPECT_EQ(text[0], '{');
  fovea_string_free(text);
}

TEST(CApi, contiguous_tensors_have_row_major_strides_and_do_not_overflow) {
  const std::int64_t shape[3] = {2, 0, 5};
  const fovea_tensor t = fovea_tensor_contiguous(nullptr, FOVEA_BF16, 3, shape);
  EXPECT_EQ(t.strides[0], 5);
  EXPECT_EQ(t.strides[1], 5);
  EXPECT_EQ(t.strides[2], 1);
  const std::int64_t huge[9] = {INT64_MAX, INT64_MAX, INT64_MAX, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(fovea_tensor_contiguous(nullptr, FOVEA_F32, 3, huge).ndim, 3);
  EXPECT_EQ(fovea_tensor_contiguous(nullptr, FOVEA_F32, 9, huge).ndim, 5);
  EXPECT_EQ(fovea_tensor_contiguous(nullptr, FOVEA_F32, 2, nullptr).ndim, 0);
}

TEST(CApi, versions_are_those_of_the_headers) {
  EXPECT_STREQ(fovea_version(), FOVEA_VERSION_STRING);
  EXPECT_EQ(fovea_abi_version(), FOVEA_ABI_VERSION);
}

}  // namespace
}  // namespace fovea
