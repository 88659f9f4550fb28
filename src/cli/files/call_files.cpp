// SPDX-License-Identifier: Apache-2.0
#include "cli/files/call_files.h"

#include <sys/stat.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "cli/files/npy.h"
#include "cli/files/safetensors.h"

namespace fovea::cli {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;

bool is_safetensors(const std::string& path) { return path.ends_with(".safetensors"); }

/// "a,b,c" -> the three names.
std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names(1);
  for (const char c : text) {
    if (c == ',') {
      names.emplace_back();
    } else {
      names.back() += c;
    }
  }
  return names;
}

/// The numbers of a list such as "5,7,9"; nothing if text is none (then it names a file or a tensor).
std::optional<std::vector<std::int32_t>> number_list(const std::string& text) {
  std::vector<std::int32_t> numbers;
  for (const std::string& word : split_names(text)) {
    std::int32_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
    numbers.push_back(value);
  }
  return numbers;
}

HostTensor list_tensor(const std::string& option, const std::vector<std::int32_t>& numbers) {
  for (const std::int32_t n : numbers) {
    check(n >= 0, kBad, option, "{} has the length {}, must be 0 or more", option, n);
  }
  const std::int64_t count = static_cast<std::int64_t>(numbers.size());
  HostTensor tensor = allocate_tensor(option, DType::kI32, {&count, 1});
  std::memcpy(tensor.view.data, numbers.data(), numbers.size() * sizeof(std::int32_t));
  return tensor;
}

/// both: the option that stands for q and k together, or empty.
HostTensor read_lengths(const std::string& option, const std::string& own, const std::string& both,
                        const std::optional<SafetensorsFile>& file) {
  const std::string& text = own.empty() ? both : own;
  if (text.empty()) return {};
  if (const auto numbers = number_list(text)) return list_tensor(option, *numbers);
  if (file && !text.ends_with(".npy")) return load_lengths(find_tensor(*file, text));
  return load_lengths(read_npy(text));
}

void check_lengths_usage(const char* option, const std::string& both, const std::string& q, const std::string& k) {
  check(both.empty() || (q.empty() && k.empty()), kBad, option,
        "{0} stands for {0}-q and {0}-k together; give either it or those", option);
}

std::vector<std::int64_t> lse_shape(const TensorView& q, Layout layout) {
  switch (layout) {
    case Layout::kTHD: return {q.shape[1], q.shape[0]};
    case Layout::kBHSD: return {q.shape[0], q.shape[1], q.shape[2]};
    case Layout::kBSHD: break;
  }
  return {q.shape[0], q.shape[2], q.shape[1]};
}

std::span<const std::int64_t> shape_of(const TensorView& view) {
  return {view.shape, static_cast<std::size_t>(view.ndim)};
}

void write_npy(AtomicFile& file, const TensorView& view) {
  const std::string header = npy_header(view.dtype, shape_of(view));
  file.write(header.data(), header.size());
  file.write(view.data, static_cast<std::size_t>(tensor_bytes(view)));
}

void write_one(AtomicFile& file, const char* name, const TensorView& view) {
  if (!is_safetensors(file.path())) return write_npy(file, view);
  const NamedTensor tensor = {name, view};
  write_safetensors(file, {&tensor, 1});
}

bool is_device_or_pipe(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}

}  // namespace

void check_usage(const InputPaths& paths, Layout layout) {
  const bool any_npy = !paths.q.empty() || !paths.k.empty() || !paths.v.empty();
  check(paths.input.empty() || !any_npy, kBad, "--input", "--input holds q, k and v; leave --q, --k and --v out");
  if (paths.input.empty()) {
    for (const auto& [option, path] : {std::pair{"--q", &paths.q}, {"--k", &paths.k}, {"--v", &paths.v}}) {
      check(!path->empty(), kBad, option, "{} is missing; give --q, --k and --v, or --input FILE.safetensors", option);
      check(!is_safetensors(*path), kBad, option, "{} takes a .npy file, not {}; give it as --input", option, *path);
    }
  }
  check(split_names(paths.names).size() == 3, kBad, "--names",
        "--names is '{}', must be the names of q, k and v with commas between, as in q,k,v", paths.names);
  check_lengths_usage("--seq-lens", paths.seq_lens, paths.seq_lens_q, paths.seq_lens_k);
  check_lengths_usage("--cu-seqlens", paths.cu_seqlens, paths.cu_seqlens_q, paths.cu_seqlens_k);
  const bool has_cu_q = !paths.cu_seqlens.empty() || !paths.cu_seqlens_q.empty();
  const bool has_cu_k = !paths.cu_seqlens.empty() || !paths.cu_seqlens_k.empty();
  if (layout == Layout::kTHD) {
    check(has_cu_q && has_cu_k, kBad, "--cu-seqlens",
          "--layout thd needs --cu-seqlens (or --cu-seqlens-q and --cu-seqlens-k): where each packed sequence starts");
  } else {
    check(!has_cu_q && !has_cu_k, kBad, "--cu-seqlens",
          "--cu-seqlens is for packed sequences; say --layout thd, or give --seq-lens for padded ones");
  }
}

CallInputs read_inputs(const InputPaths& paths, std::optional<DType> dtype) {
  std::optional<SafetensorsFile> file;
  CallInputs inputs;
  if (paths.input.empty()) {
    inputs.q = load_tensor(read_npy(paths.q), dtype);
    inputs.k = load_tensor(read_npy(paths.k), dtype);
    inputs.v = load_tensor(read_npy(paths.v), dtype);
  } else {
    file = read_safetensors(paths.input);
    const std::vector<std::string> names = split_names(paths.names);
    inputs.q = load_tensor(find_tensor(*file, names[0]), dtype);
    inputs.k = load_tensor(find_tensor(*file, names[1]), dtype);
    inputs.v = load_tensor(find_tensor(*file, names[2]), dtype);
  }
  inputs.seq_lens_q = read_lengths("--seq-lens-q", paths.seq_lens_q, paths.seq_lens, file);
  inputs.seq_lens_k = read_lengths("--seq-lens-k", paths.seq_lens_k, paths.seq_lens, file);
  inputs.cu_seqlens_q = read_lengths("--cu-seqlens-q", paths.cu_seqlens_q, paths.cu_seqlens, file);
  inputs.cu_seqlens_k = read_lengths("--cu-seqlens-k", paths.cu_seqlens_k, paths.cu_seqlens, file);
  return inputs;
}

void CallOutputs::check_usage(const std::string& o, const std::string& lse) {
  for (const auto& [option, path] : {std::pair{"--output", &o}, {"--lse", &lse}}) {
    if (path->empty() && path == &lse) continue;
    check(path->ends_with(".npy") || is_safetensors(*path) || is_device_or_pipe(*path), kBad, option,
          "{} is '{}', must end in .npy or .safetensors: the ending tells the format", option, *path);
  }
  check(o != lse || is_safetensors(o), kBad, "--lse",
        "--lse is the same file as --output, and a .npy file holds one array; take another name or .safetensors");
}

CallOutputs::CallOutputs(const std::string& o, const std::string& lse) : wants_lse_(!lse.empty()), o_(o) {
  if (wants_lse_ && lse != o) lse_.emplace(lse);
}

void CallOutputs::write(const TensorView& o, const TensorView& lse) {
  if (wants_lse_ && !lse_) {
    const NamedTensor both[] = {{"o", o}, {"lse", lse}};
    write_safetensors(o_, both);
  } else {
    write_one(o_, "o", o);
    if (lse_) write_one(*lse_, "lse", lse);
  }
  // Both are whole before the first appears.
  o_.commit();
  if (lse_) lse_->commit();
}

CallTensors call_tensors(const CallInputs& inputs, Layout layout, bool wants_lse) {
  CallTensors call;
  AttentionTensors& t = call.tensors;
  t.q = inputs.q.view;
  t.k = inputs.k.view;
  t.v = inputs.v.view;
  t.seq_lens_q = inputs.seq_lens_q.view;
  t.seq_lens_k = inputs.seq_lens_k.view;
  t.cu_seqlens_q = inputs.cu_seqlens_q.view;
  t.cu_seqlens_k = inputs.cu_seqlens_k.view;
  const int dims = layout == Layout::kTHD ? 3 : 4;
  const bool is_sound = t.q.ndim == dims && t.v.ndim == dims;
  std::vector<std::int64_t> o_shape = {0, 0, 0, 0};
  if (is_sound) {
    o_shape.assign(t.q.shape, t.q.shape + dims);
    o_shape.back() = t.v.shape[dims - 1];
  }
  call.o = allocate_tensor("o", t.q.dtype, o_shape);
  t.o = call.o.view;
  if (wants_lse) {
    call.lse =
        allocate_tensor("lse", DType::kF32, is_sound ? lse_shape(t.q, layout) : std::vector<std::int64_t>{0, 0, 0});
    t.lse = call.lse.view;
  }
  return call;
}

}  // namespace fovea::cli
