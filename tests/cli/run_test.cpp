// SPDX-License-Identifier: Apache-2.0
// fovea run end to end: files made here, the built command, its output files judged against float64.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/math.h"
#include "cli/files/call_files.h"
#include "cli/files/npy.h"
#include "cli/files/safetensors.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "tests/cli/command.h"
#include "tests/cli/files.h"
#include "verify/attention.h"

namespace fovea::cli {
namespace {

using namespace fovea::test;
using Shape = std::vector<std::int64_t>;
using Lengths = std::vector<std::int32_t>;

/// A call as the library takes it, and the arguments that must mean the same.
struct RunCase {
  std::string name;
  std::string arguments;
  Shape q, k, v;
  DType dtype = DType::kF32;
  AttentionOptions options = {};
  Lengths seq_lens_q = {}, seq_lens_k = {}, cu_seqlens_q = {}, cu_seqlens_k = {};
};

std::string random_elements(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::string bytes;
  for (std::int64_t n = shape_bytes(shape, 1).value(); n > 0; --n) {
    const float value = normal(random);
    std::uint16_t half = dtype == DType::kF16 ? float_to_fp16(value) : float_to_bf16(value);
    if (dtype == DType::kF32) {
      bytes.append(reinterpret_cast<const char*>(&value), 4);
    } else {
      bytes.append(reinterpret_cast<const char*>(&half), 2);
    }
  }
  return bytes;
}

std::string random_npy(const Shape& shape, DType dtype, unsigned seed) {
  return npy_header(dtype, shape) + random_elements(shape, dtype, seed);
}

std::string integers_npy(const Lengths& values) {
  const Shape shape = {static_cast<std::int64_t>(values.size())};
  return npy_header(DType::kI32, shape) +
         std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::int32_t));
}

TensorView vector_view(Lengths& values) {
  if (values.empty()) return {};
  return TensorView::contiguous(values.data(), DType::kI32, {static_cast<std::int64_t>(values.size())});
}

/// Judges output arrays by the tolerance rule.
void expect_right(RunCase c, const FileArray& o_array, const FileArray& lse_array, const InputPaths& inputs) {
  const HostTensor q = load_tensor(read_npy(inputs.q), c.dtype), k = load_tensor(read_npy(inputs.k), c.dtype),
                   v = load_tensor(read_npy(inputs.v), c.dtype), o = load_tensor(o_array, std::nullopt),
                   lse = load_tensor(lse_array, std::nullopt);
  AttentionTensors t;
  t.q = q.view;
  t.k = k.view;
  t.v = v.view;
  t.o = o.view;
  t.lse = lse.view;
  t.seq_lens_q = vector_view(c.seq_lens_q);
  t.seq_lens_k = vector_view(c.seq_lens_k);
  t.cu_seqlens_q = vector_view(c.cu_seqlens_q);
  t.cu_seqlens_k = vector_view(c.cu_seqlens_k);
  ASSERT_EQ(o.view.dtype, c.dtype) << c.name;
  const AttentionProblem problem = describe_attention(t, c.options);
  const AttentionReport report = verify_attention(attention_args(t, c.options.layout, problem), c.dtype);
  EXPECT_TRUE(report.passed) << c.name << ": " << to_string(problem) << "\n" << to_string(report);
}

InputPaths write_inputs(const TemporaryDirectory& directory, const RunCase& c) {
  InputPaths paths;
  paths.q = directory.path("q.npy");
  paths.k = directory.path("k.npy");
  paths.v = directory.path("v.npy");
  write_file(paths.q, random_npy(c.q, c.dtype, 1));
  write_file(paths.k, random_npy(c.k, c.dtype, 2));
  write_file(paths.v, random_npy(c.v, c.dtype, 3));
  return paths;
}

std::string input_arguments(const InputPaths& paths) {
  return fmt::format("--q {} --k {} --v {} ", paths.q, paths.k, paths.v);
}

AttentionOptions with(void (*set)(AttentionOptions&)) {
  AttentionOptions options;
  set(options);
  return options;
}

const Shape kQ = {2, 37, 4, 24}, kK = {2, 53, 2, 24}, kV = {2, 53, 2, 40};

std::vector<RunCase> run_cases() {
  std::vector<RunCase> cases = {
      {"fp32", "", kQ, kK, kV},
      {"fp16", "", kQ, kK, kV, DType::kF16},
      {"bf16", "", kQ, kK, kV, DType::kBF16},
      {"causal", "--causal", kQ, kK, kV, DType::kF32, with([](auto& o) { o.causal = true; })},
      {"causal, more queries than keys",
       "--causal",
       {1, 60, 2, 8},
       {1, 20, 1, 8},
       {1, 20, 1, 8},
       DType::kF32,
       with([](auto& o) { o.causal = true; })},
      {"top-left", "--causal --top-left", kQ, kK, kV, DType::kBF16, with([](auto& o) {
         o.causal = true;
         o.alignment = MaskAlignment::kTopLeft;
       })},
      {"window", "--window 5,3", kQ, kK, kV, DType::kF32, with([](auto& o) {
         o.window_left = 5;
         o.window_right = 3;
       })},
      {"open window, causal", "--window 7,open --causal", kQ, kK, kV, DType::kF16, with([](auto& o) {
         o.window_left = 7;
         o.causal = true;
       })},
      {"scale and softcap", "--scale 0.3 --softcap 2.5", kQ, kK, kV, DType::kF32, with([](auto& o) {
         o.softmax_scale = 0.3f;
         o.softcap = 2.5f;
       })},
      {"bhsd", "--layout bhsd", {2, 4, 37, 24}, {2, 2, 53, 24}, {2, 2, 53, 40}, DType::kF32, with([](auto& o) {
         o.layout = Layout::kBHSD;
       })},
      {"baseline kernel, small tiles, one thread",
       "--isa baseline --threads 1 --kernel attention_forward_cpu --block-q 16 --block-k 32", kQ, kK, kV},
      {"no key", "", {1, 3, 1, 8}, {1, 0, 1, 8}, {1, 0, 1, 8}},
      {"no query", "", {2, 0, 2, 8}, {2, 5, 1, 8}, {2, 5, 1, 8}},
      {"no batch", "", {0, 4, 2, 8}, {0, 5, 1, 8}, {0, 5, 1, 8}},
      {"one of everything", "", {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, DType::kBF16},
  };
  RunCase lengths = {"lengths as lists", "--seq-lens-q 37,0 --seq-lens-k 20,53", kQ, kK, kV};
  lengths.seq_lens_q = {37, 0};
  lengths.seq_lens_k = {20, 53};
  cases.push_back(lengths);
  RunCase both = {"one list for both", "--seq-lens 30,7 --causal", {2, 37, 4, 24}, {2, 37, 2, 24}, {2, 37, 2, 24}};
  both.options.causal = true;
  both.seq_lens_q = both.seq_lens_k = {30, 7};
  cases.push_back(both);
  RunCase packed = {"packed",    "--layout thd --cu-seqlens-q 0,5,5,40 --cu-seqlens-k 0,9,12,33 --causal",
                    {40, 4, 16}, {33, 2, 16},
                    {33, 2, 16}, DType::kBF16};
  packed.options.layout = Layout::kTHD;
  packed.options.causal = true;
  packed.cu_seqlens_q = {0, 5, 5, 40};
  packed.cu_seqlens_k = {0, 9, 12, 33};
  cases.push_back(packed);
  return cases;
}

TEST(Run, every_option_gives_the_right_answer) {
  for (const RunCase& c : run_cases()) {
    SCOPED_TRACE(c.name);
    const TemporaryDirectory directory;
    const InputPaths inputs = write_inputs(directory, c);
    const std::string o = directory.path("o.npy"), lse = directory.path("lse.npy");
    const CommandResult result =
        run_fovea(fmt::format("run {} -o {} --lse {} {}", input_arguments(inputs), o, lse, c.arguments));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out + result.err, "");
    expect_right(c, read_npy(o), read_npy(lse), inputs);
    EXPECT_EQ(directory.entries(), 5u);
  }
}

TEST(Run, lengths_are_read_from_files_too) {
  RunCase c = {"lengths", "", {2, 9, 2, 8}, {2, 9, 1, 8}, {2, 9, 1, 8}};
  c.seq_lens_q = c.seq_lens_k = {4, 9};
  const TemporaryDirectory directory;
  const InputPaths inputs = write_inputs(directory, c);
  write_file(directory.path("lens.npy"), integers_npy({4, 9}));
  const std::string o = directory.path("o.npy"), lse = directory.path("lse.npy");
  const CommandResult result = run_fovea(
      fmt::format("run {} -o {} --lse {} --seq-lens {}", input_arguments(inputs), o, lse, directory.path("lens.npy")));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_right(c, read_npy(o), read_npy(lse), inputs);
}

TEST(Run, safetensors_in_and_out_with_other_names_and_lengths_inside) {
  RunCase c = {"safetensors", "", {2, 9, 2, 8}, {2, 9, 1, 8}, {2, 9, 1, 8}, DType::kF16};
  c.seq_lens_q = c.seq_lens_k = {4, 9};
  const TemporaryDirectory directory;
  const InputPaths inputs = write_inputs(directory, c);
  const HostTensor q = load_tensor(read_npy(inputs.q), std::nullopt), k = load_tensor(read_npy(inputs.k), std::nullopt),
                   v = load_tensor(read_npy(inputs.v), std::nullopt);
  const NamedTensor tensors[] = {
      {"query", q.view}, {"key", k.view}, {"value", v.view}, {"lens", vector_view(c.seq_lens_q)}};
  AtomicFile file(directory.path("in.safetensors"));
  write_safetensors(file, tensors);
  file.commit();
  const std::string out = directory.path("out.safetensors");
  const CommandResult result =
      run_fovea(fmt::format("run --input {} --names query,key,value --seq-lens lens -o {} --lse {}",
                            directory.path("in.safetensors"), out, out));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const SafetensorsFile written = read_safetensors(out);
  expect_right(c, find_tensor(written, "o"), find_tensor(written, "lse"), inputs);
}

TEST(Run, inputs_are_converted_on_request_and_raw_pairs_of_bytes_need_a_type) {
  RunCase c = {"converted", "", kQ, kK, kV};
  const TemporaryDirectory directory;
  InputPaths inputs = write_inputs(directory, c);
  std::string raw = random_npy(kQ, DType::kBF16, 4);
  raw.replace(raw.find("<V2"), 3, "|V2");
  write_file(inputs.q, raw);
  const std::string o = directory.path("o.npy"), lse = directory.path("lse.npy");
  const std::string line = fmt::format("run {} -o {} --lse {}", input_arguments(inputs), o, lse);
  const CommandResult refused = run_fovea(line);
  EXPECT_EQ(refused.exit_code, 1);
  expect_contains(refused.err, {"q.npy", "--dtype bf16"});
  const CommandResult result = run_fovea(line + " --dtype bf16");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  c.dtype = DType::kBF16;
  expect_right(c, read_npy(o), read_npy(lse), inputs);
}

TEST(Run, nan_in_rows_past_the_length_reaches_no_output) {
  RunCase c = {"nan", "", {1, 4, 1, 8}, {1, 6, 1, 8}, {1, 6, 1, 8}};
  const TemporaryDirectory directory;
  const InputPaths inputs = write_inputs(directory, c);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::string& path : {inputs.k, inputs.v}) {
    std::string bytes = file_bytes(path);
    for (std::size_t i = 0; i < 3 * 8; ++i) std::memcpy(&bytes[bytes.size() - 4 * (i + 1)], &nan, 4);
    write_file(path, bytes);
  }
  const std::string o = directory.path("o.npy");
  const CommandResult result = run_fovea(fmt::format("run {} -o {} --seq-lens-k 3", input_arguments(inputs), o));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const HostTensor out = load_tensor(read_npy(o), std::nullopt);
  for (int i = 0; i < 4 * 8; ++i) EXPECT_TRUE(std::isfinite(static_cast<const float*>(out.view.data)[i])) << i;
}

TEST(Run, check_and_json_tell_what_was_done) {
  const RunCase c = {"json", "", kQ, kK, kV};
  const TemporaryDirectory directory;
  const InputPaths inputs = write_inputs(directory, c);
  const std::string line = fmt::format("run {} -o {} --check", input_arguments(inputs), directory.path("o.npy"));
  const CommandResult text = run_fovea(line);
  EXPECT_EQ(text.exit_code, 0);
  expect_contains(text.out, {"max error", "pass"});
  const nlohmann::json document = json_of(run_fovea(line + " --json"));
  EXPECT_EQ(document["check"]["passed"], true);
  EXPECT_EQ(document["plan"]["kernel"], "attention_forward_cpu");
  EXPECT_EQ(document["outputs"]["o"]["shape"], (Shape{2, 37, 4, 40}));
  EXPECT_EQ(document["outputs"]["o"]["path"], directory.path("o.npy"));
}

class RunErrors : public testing::Test {
 protected:
  RunErrors() : inputs_(write_inputs(directory_, {"errors", "", kQ, kK, kV})) { write_file(o_, "old"); }
  ~RunErrors() override { EXPECT_EQ(file_bytes(o_), "old") << "an output was touched"; }

  void expect(int exit_code, const std::string& arguments, std::initializer_list<std::string_view> parts) {
    const CommandResult result = run_fovea("run " + arguments);
    EXPECT_EQ(result.exit_code, exit_code) << arguments << "\n" << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(result.err.starts_with("fovea: ")) << result.err;
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
    expect_contains(result.err, parts);
  }
  std::string all() const { return input_arguments(inputs_) + "-o " + o_ + " "; }

  const TemporaryDirectory directory_;
  const std::string o_ = directory_.path("o.npy");
  const InputPaths inputs_;
};

TEST_F(RunErrors, wrong_usage_exits_with_2) {
  expect(2, input_arguments(inputs_), {"--output"});
  expect(2, "-o " + o_, {"--q is missing", "--input"});
  expect(2, fmt::format("--q {} -o {}", inputs_.q, o_), {"--k is missing"});
  expect(2, all() + "--input x.safetensors", {"--input", "leave --q"});
  expect(2, fmt::format("--q x.safetensors --k {} --v {} -o {}", inputs_.k, inputs_.v, o_), {"--q", "--input"});
  expect(2, all() + "--names q,k", {"--names"});
  expect(2, all() + "--layout sbhd", {"--layout", "bshd"});
  expect(2, all() + "--layout thd", {"--cu-seqlens"});
  expect(2, all() + "--cu-seqlens 0,4", {"--cu-seqlens", "--layout thd"});
  expect(2, all() + "--seq-lens 4,4 --seq-lens-k 4,4", {"--seq-lens"});
  expect(2, all() + "--dtype int8", {"--dtype", "bf16"});
  expect(2, all() + "--lse " + o_, {"--lse", "same file"});
  expect(2, all() + "--lse lse.txt", {"lse.txt", ".npy or .safetensors"});
  expect(2, all() + "--threads 0", {"--threads"});
  expect(2, all() + "--window 5", {"--window"});
  expect(2, all() + "--isa sse9", {"sse9"});
}

TEST_F(RunErrors, files_that_cannot_be_used_exit_with_1) {
  write_file(directory_.path("cut.npy"), random_npy(kK, DType::kF32, 1).substr(0, 1000));
  write_file(directory_.path("other.npy"), random_npy({2, 53, 2, 25}, DType::kF32, 1));
  write_file(directory_.path("half.npy"), random_npy(kK, DType::kF16, 1));
  const auto with_k = [&](const std::string& k) {
    return fmt::format("--q {} --k {} --v {} -o {}", inputs_.q, directory_.path(k), inputs_.v, o_);
  };
  expect(1, with_k("cut.npy"), {"cut.npy", "truncated"});
  expect(1, with_k("other.npy"), {"head_dim"});
  expect(1, with_k("half.npy"), {"fp16", "fp32"});
  expect(1, with_k("missing.npy"), {"missing.npy", "No such file"});
  expect(1, with_k(""), {"a directory"});
  expect(1, "--input " + inputs_.q + " -o " + o_, {"safetensors header"});
  expect(1, all() + "--layout thd --cu-seqlens 0,4", {"q has 4 dimensions, must have 3"});
  expect(1, all() + "--seq-lens-k 3,54", {"seq_lens_k[1] is 54", "53"});
  expect(1, all() + "--seq-lens-k 3", {"seq_lens_k", "(2,)"});
  expect(1, all() + "--seq-lens-k nowhere.npy", {"nowhere.npy"});
  expect(1, all() + "--kernel none", {"none", "attention_forward_cpu"});
  expect(1, all() + "--softcap -1", {"softcap"});
}

TEST_F(RunErrors, outputs_that_cannot_be_written_exit_with_1) {
  const std::string inputs = input_arguments(inputs_);
  expect(1, inputs + "-o " + directory_.path("missing/o.npy"), {"missing/o.npy", "No such file"});
  expect(1, inputs + "-o /dev/full", {"/dev/full", "No space left"});
  expect(1, all() + "--lse /dev/full", {"/dev/full", "No space left"});
  expect(1, all() + "--lse " + directory_.path("missing/lse.npy"), {"missing/lse.npy"});
}

TEST_F(RunErrors, json_holds_the_error_too) {
  const CommandResult result = run_fovea("run --json -o " + o_ + " --input " + directory_.path("none.safetensors"));
  EXPECT_EQ(result.exit_code, 1);
  expect_contains(json_of(result)["error"]["message"], {"none.safetensors", "No such file"});
}

TEST(Run, a_long_run_shows_progress_and_leaves_nothing_when_it_is_ended) {
  const TemporaryDirectory directory;
  const RunCase c = {"long", "", {1, 1 << 18, 1, 8}, {1, 1 << 18, 1, 8}, {1, 1 << 18, 1, 8}};
  const InputPaths inputs = write_inputs(directory, c);
  const std::string line =
      fmt::format("timeout -s TERM 4 {}/fovea run {} -o {} --threads 1 --isa baseline 2>{}", FOVEA_BINARY_DIR,
                  input_arguments(inputs), directory.path("o.npy"), directory.path("err"));
  const int status = std::system(line.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 124) << "ended before it was stopped";
  expect_contains(file_bytes(directory.path("err")), {"run: computing, "});
  EXPECT_EQ(directory.entries(), 4u);
}

}  // namespace
}  // namespace fovea::cli
