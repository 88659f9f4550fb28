// SPDX-License-Identifier: Apache-2.0
// fovea run: attention on q, k and v from files, o and lse to files.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/comparison_json.h"
#include "cli/files/call_files.h"
#include "cli/problem_options.h"
#include "cli/terminal.h"
#include "contract/dtype.h"
#include "problem/arguments.h"
#include "problem/describe.h"
#include "verify/attention.h"

namespace fovea::cli {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;

struct RunOptions {
  CallOptions call;
  InputPaths inputs;
  std::string output, lse, dtype;
  bool check = false;
  std::int64_t rows = 512;
};

/// Shows on stderr what is being done while it takes long, from a thread of its own.
class Working {
 public:
  explicit Working(std::string what) : what_(std::move(what)), thread_([this] { show(); }) {}
  ~Working() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  Working(const Working&) = delete;
  Working& operator=(const Working&) = delete;

 private:
  void show() {
    const auto start = std::chrono::steady_clock::now();
    Progress progress("run:");
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::milliseconds(200), [this] { return done_; })) {
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      progress.show(0, fmt::format("{}, {:.0f} s", what_, elapsed.count()));
    }
  }

  std::string what_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;  // last: it uses the others
};

/// A length beyond its tensor is a mistake in the file; kernels would take it as the whole sequence.
void check_lengths(const AttentionTensors& t, const AttentionProblem& problem) {
  for (const auto& [name, lengths, seqlen] :
       {std::tuple{"seq_lens_q", &t.seq_lens_q, problem.seqlen_q}, {"seq_lens_k", &t.seq_lens_k, problem.seqlen_k}}) {
    if (!lengths->present()) continue;
    for (std::int64_t b = 0; b < lengths->shape[0]; ++b) {
      const int length = static_cast<const std::int32_t*>(lengths->data)[b];
      check(length <= seqlen, kBad, name, "{}[{}] is {}, but the tensor's sequences have {} rows", name, b, length,
            seqlen);
    }
  }
}

nlohmann::ordered_json json_of(const TensorView& view, const std::string& path) {
  return {{"path", path},
          {"dtype", name_of(view.dtype)},
          {"shape", std::vector<std::int64_t>(view.shape, view.shape + view.ndim)}};
}

/// What a run found out.
struct RunResult {
  AttentionProblem problem;
  std::string plan_json;
  double seconds = 0;
  std::optional<AttentionReport> report;
  bool passed() const { return !report || report->passed; }
};

RunResult compute(const RunOptions& options, const AttentionOptions& call, Runtime& runtime,
                  AttentionTensors& tensors) {
  RunResult result;
  result.problem = describe_attention(tensors, call);
  check_lengths(tensors, result.problem);
  result.plan_json = attention_explain(runtime, tensors, call, /*json=*/true);
  {
    const Working working("computing");
    const auto start = std::chrono::steady_clock::now();
    attention_forward(runtime, tensors, call);
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  if (options.check) {
    const Working working("checking against float64");
    const AttentionArgs args = attention_args(tensors, call.layout, result.problem);
    result.report = verify_attention(args, result.problem.dtype, {options.rows});
  }
  return result;
}

void print_json(const RunOptions& options, const RunResult& result, const CallTensors& call) {
  nlohmann::ordered_json document = {{"problem", to_string(result.problem)},
                                     {"seconds", result.seconds},
                                     {"gflops", attention_flops(result.problem) / 1e9 / result.seconds},
                                     {"plan", nlohmann::ordered_json::parse(result.plan_json)}};
  nlohmann::ordered_json outputs = nlohmann::ordered_json::object();
  if (result.passed()) {
    outputs["o"] = json_of(call.tensors.o, options.output);
    if (call.tensors.lse.present()) outputs["lse"] = json_of(call.tensors.lse, options.lse);
  }
  document["outputs"] = std::move(outputs);
  if (const auto& report = result.report) {
    document["check"] = {{"passed", report->passed},
                         {"rows_checked", report->rows_checked},
                         {"o", comparison_json(report->o, report->o_limit)}};
    if (call.tensors.lse.present()) document["check"]["lse"] = comparison_json(report->lse, report->lse_limit);
  }
  fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

int run_files(const RunOptions& options, Invocation& invocation) {
  const AttentionOptions call = resolve_call(options.call);
  const auto dtype = options.dtype.empty() ? std::nullopt : std::optional(parse_dtype(options.dtype));
  check_usage(options.inputs, call.layout);
  CallOutputs::check_usage(options.output, options.lse);
  Runtime runtime(runtime_options(options.call));
  invocation.options_are_sound = true;

  CallOutputs outputs(options.output, options.lse);
  const CallInputs inputs = [&] {
    const Working working("reading");
    return read_inputs(options.inputs, dtype);
  }();
  CallTensors tensors = call_tensors(inputs, call.layout, outputs.wants_lse());
  const RunResult result = compute(options, call, runtime, tensors.tensors);
  if (result.passed()) {
    const Working working("writing");
    outputs.write(tensors.tensors.o, tensors.tensors.lse);
  }
  if (invocation.json) print_json(options, result, tensors);
  if (result.report && !invocation.json) fmt::print("{}", to_string(*result.report));
  if (!result.passed()) fmt::print(stderr, "fovea: the result is not within tolerance; no output was written\n");
  return result.passed() ? kDone : kFoundProblem;
}

void add_input_options(CLI::App& command, InputPaths& paths) {
  const auto add = [&](const char* name, std::string& value, const char* help, const char* type = "FILE") {
    command.add_option(name, value, help)->group("Inputs")->type_name(type);
  };
  add("--q", paths.q, "Queries, a .npy file: (batch, seqlen, num_heads, head_dim), or as --layout says");
  add("--k", paths.k, "Keys");
  add("--v", paths.v, "Values");
  add("--input", paths.input, "All three from one .safetensors file");
  add("--names", paths.names, "Their names in it; default q,k,v", "Q,K,V");
  constexpr const char* kLengths = "LENGTHS";
  add("--seq-lens", paths.seq_lens,
      "Valid rows of each sequence, in q and k: a list, a .npy file, or a name in --input", kLengths);
  add("--seq-lens-q", paths.seq_lens_q, "The same for q only", kLengths);
  add("--seq-lens-k", paths.seq_lens_k, "The same for k and v only", kLengths);
  add("--cu-seqlens", paths.cu_seqlens, "With --layout thd: where each sequence starts, and the end: 0,5,12", kLengths);
  add("--cu-seqlens-q", paths.cu_seqlens_q, "The same for q only", kLengths);
  add("--cu-seqlens-k", paths.cu_seqlens_k, "The same for k and v only", kLengths);
}

constexpr const char* kFooter =
    "Examples:\n"
    "  fovea run --q q.npy --k k.npy --v v.npy -o o.npy --causal\n"
    "  fovea run --input qkv.safetensors -o o.safetensors --lse o.safetensors --check\n"
    "  fovea run --q q.npy --k k.npy --v v.npy -o o.npy --layout thd --cu-seqlens 0,100,612\n"
    "A bfloat16 .npy file is what ml_dtypes writes; NumPy reads it as raw pairs: x.view(ml_dtypes.bfloat16).\n"
    "Outputs appear only when complete. Exits with 1 for files that cannot be used and for a failed --check.";

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("run", "Attention on q, k and v from files");
  auto options = std::make_shared<RunOptions>();
  add_input_options(*command, options->inputs);
  command->add_option("-o,--output", options->output, "Where o goes: .npy or .safetensors")
      ->required()
      ->group("Outputs")
      ->type_name("FILE");
  command->add_option("--lse", options->lse, "Where lse goes; may be the .safetensors file of o")
      ->group("Outputs")
      ->type_name("FILE");
  command
      ->add_option("--dtype", options->dtype,
                   "Convert the inputs to fp32, fp16 or bf16 first, and take raw 16-bit elements as that type")
      ->group("Inputs")
      ->type_name("NAME");
  add_call_options(*command, options->call);
  command->add_flag("--check", options->check, "Compare with float64 before the outputs are put in place");
  command->add_option("--rows", options->rows, "Rows that --check compares, spread evenly; 0 for all")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_json_flag(*command, invocation);
  command->footer(kFooter);
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return run_files(*options, invocation); };
  });
}

}  // namespace fovea::cli
