// SPDX-License-Identifier: Apache-2.0
// NVRTC's functions, served by the host's C++ compiler: the unit and its headers go into a temporary folder, PTX words
// are replaced by emulated ones (device/ptx), and the result is a shared object.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include "jit/texts.h"
#include "tests/emulated_gpu/driver/image.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace fovea::emulated {
namespace {

namespace fs = std::filesystem;

// -O1: unrolled kernels take the compiler longer than they run.
constexpr const char* kOptions =
    "-std=c++20 -O1 -w -shared -fPIC -fvisibility=hidden -fno-gnu-unique -fno-exceptions -fno-rtti "
    "-fno-strict-aliasing -fno-math-errno -fno-trapping-math -ffp-contract=fast "
    "-fsanitize=alignment,bounds -fsanitize-undefined-trap-on-error "
    "-ftrivial-auto-var-init=pattern";

struct Program {
  std::string source;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string log, image;
};

/// Declarations of shared memory become calls: statics of the host would be shared by blocks and never filled anew.
std::string rewrite_shared(const std::string& text, int& number) {
  static const std::regex kDeclaration(
      R"((extern )?__shared__\s+(?:__align__\((\d+)\)\s+)?([A-Za-z_][\w:]*(?:\s+[A-Za-z_][\w:]*)*)\s+(\w+)((?:\[[^\]]*\])*);)");
  std::string out;
  auto from = text.cbegin();
  for (std::sregex_iterator it(text.begin(), text.end(), kDeclaration), end; it != end; ++it) {
    const std::smatch& m = *it;
    out.append(from, m[0].first);
    const std::string alignment = m[2].matched ? m[2].str() : "1";
    if (m[1].matched) {
      out += "FOVEA_DYNAMIC_SHARED(" + m[4].str() + ", " + alignment + ", " + m[3].str() + ");";
    } else {
      out += "FOVEA_STATIC_SHARED(" + std::to_string(++number) + ", " + m[4].str() + ", " + alignment + ", " +
             m[3].str() + m[5].str() + ");";
    }
    from = m[0].second;
  }
  out.append(from, text.cend());
  return out;
}

constexpr const char* kBody = "fovea_emulated_body";

struct Entry {
  std::string name;
  int threads = 1024, min_blocks = 1;
  int registers() const { return std::min(255, 65536 / (threads * min_blocks) / 8 * 8); }
};

/// Finds the one kernel, and gives it a name of our own in the text: functions beside it may have the same.
bool take_entry(std::string& source, Entry& entry) {
  static const std::regex kEntry(R"(__global__\s+void\s+__launch_bounds__\((\d+),\s*(\d+)\)\s+(\w+)\()");
  std::smatch m;
  if (!std::regex_search(source, m, kEntry)) return false;
  entry.threads = std::stoi(m[1]);
  entry.min_blocks = std::max(1, std::stoi(m[2]));
  entry.name = m[3];
  source.replace(static_cast<std::size_t>(m.position(3)), entry.name.size(), kBody);
  return true;
}

std::string description_of(const Entry& entry) {
  constexpr const char* kText = R"(
namespace fovea::emulated {
using EntryParameters = decltype(parameters_of(&::fovea::fovea_emulated_body));
static void run_entry(void** parameters) { EntryParameters::run(&::fovea::fovea_emulated_body, parameters); }
static void bind_engine(Engine* to) { engine = to; }
extern "C" __attribute__((visibility("default"))) const KernelDescription* fovea_emulated_kernel() {
  static KernelDescription description = {bind_engine, run_entry, EntryParameters::kBytes,
                                          sizeof EntryParameters::kBytes / sizeof(int) - 1, static_shared_bytes,
                                          kThreads, kMinBlocks};
  return &description;
}
}  // namespace fovea::emulated
)";
  return "\nnamespace fovea::emulated {\nextern \"C\" __attribute__((visibility(\"default\"))) const char "
         "fovea_emulated_entry[] = \"" +
         entry.name + "\";\nconstexpr int kThreads = " + std::to_string(entry.threads) +
         ", kMinBlocks = " + std::to_string(entry.min_blocks) + ";\n}\n" + kText;
}

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}
std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_texts(const Program& program, const Entry& entry, const fs::path& folder) {
  int number = 0;
  for (const auto& [name, text] : program.headers) {
    const bool is_watched = name == "kernels/block/row_by_row.cuh";
    write_file(folder / (is_watched ? "kernels/block/row_by_row_itself.cuh" : name), rewrite_shared(text, number));
  }
  for (const jit::EmbeddedText& text : jit::embedded_texts()) {
    const std::string name(text.name);
    if (name.starts_with("ptx/") || name.starts_with("block/")) {
      write_file(folder / "kernels" / name, text.content);
    } else {
      write_file(folder / "emulated" / name, text.content);
    }
  }
  write_file(folder / "kernel.cpp", rewrite_shared(program.source, number) + description_of(entry));
}

int architecture_of(int count, const char* const* options) {
  for (int i = 0; i < count; ++i) {
    if (std::strncmp(options[i], "--gpu-architecture=sm_", 22) == 0) return std::atoi(options[i] + 22);
  }
  return 0;
}

std::string host_flags() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    return " -march=x86-64-v3";
  }
#endif
  return "";
}

int compile(Program& program, int count, const char* const* options) {
  Entry entry;
  const int capability = architecture_of(count, options);
  if (!take_entry(program.source, entry) || capability == 0) {
    program.log = "the emulated compiler needs one kernel with __launch_bounds__, and an architecture";
    return 5;
  }
  std::string pattern = (fs::temp_directory_path() / "fovea-emulated-XXXXXX").string();
  if (!mkdtemp(pattern.data())) return 11;
  const fs::path folder = pattern;
  write_texts(program, entry, folder);
  const std::string command = std::string(FOVEA_HOST_COMPILER) + " " + kOptions + host_flags() +
                              " -D__CUDA_ARCH__=" + std::to_string(capability * 10) + " -I" + pattern +
                              " -include emulated/prelude.h -o " + pattern + "/kernel.so " + pattern +
                              "/kernel.cpp 2>" + pattern + "/log";
  const bool ok = std::system(command.c_str()) == 0;
  program.log = read_file(folder / "log");
  if (ok) {
    const std::string object = read_file(folder / "kernel.so");
    const ImageHead head = {ImageHead::kMagic, object.size(), capability, entry.registers()};
    program.image.assign(reinterpret_cast<const char*>(&head), sizeof head);
    program.image += object;
    program.log += "Compiling entry function '" + entry.name +
                   "'\n0 bytes stack frame, 0 bytes spill stores, 0 bytes " + "spill loads\nUsed " +
                   std::to_string(entry.registers()) + " registers\n";
  }
  if (!std::getenv("FOVEA_EMULATED_GPU_KEEP")) {
    fs::remove_all(folder);
  } else {
    std::fprintf(stderr, "emulated GPU: the text of %s is kept in %s\n", entry.name.c_str(), pattern.c_str());
  }
  return ok ? 0 : 6;
}

/// Of the embedded texts and options: kernels compiled with others are not taken from a cache.
int hash_of_texts() {
  std::uint32_t hash = 2166136261u;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  };
  for (const jit::EmbeddedText& text : jit::embedded_texts()) add(text.name), add(text.content);
  add(kOptions), add(host_flags()), add(FOVEA_HOST_COMPILER);
  return static_cast<int>(hash % 1000000);
}

Program& of(void* program) { return *static_cast<Program*>(program); }

}  // namespace
}  // namespace fovea::emulated

using fovea::emulated::of;

EXPORT const char* nvrtcGetErrorString(int result) {
  return result == 0 ? "success" : "an error of the emulated compiler";
}
EXPORT int nvrtcVersion(int* major, int* minor) {
  *major = 12;
  *minor = 1000000 + fovea::emulated::hash_of_texts();
  return 0;
}
constexpr int kArchitectures[] = {75, 80, 86, 89, 90};
EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  *count = static_cast<int>(std::size(kArchitectures));
  return 0;
}
EXPORT int nvrtcGetSupportedArchs(int* all) {
  std::copy(std::begin(kArchitectures), std::end(kArchitectures), all);
  return 0;
}
EXPORT int nvrtcCreateProgram(void** program, const char* source, const char*, int count, const char* const* texts,
                              const char* const* names) {
  auto made = std::make_unique<fovea::emulated::Program>();
  made->source = source;
  for (int i = 0; i < count; ++i) made->headers.emplace_back(names[i], texts[i]);
  *program = made.release();
  return 0;
}
EXPORT int nvrtcDestroyProgram(void** program) {
  delete &of(*program);
  *program = nullptr;
  return 0;
}
EXPORT int nvrtcCompileProgram(void* program, int count, const char* const* options) {
  return fovea::emulated::compile(of(program), count, options);
}
EXPORT int nvrtcGetCUBINSize(void* program, std::size_t* size) {
  *size = of(program).image.size();
  return 0;
}
EXPORT int nvrtcGetCUBIN(void* program, char* to) {
  std::memcpy(to, of(program).image.data(), of(program).image.size());
  return 0;
}
EXPORT int nvrtcGetProgramLogSize(void* program, std::size_t* size) {
  *size = of(program).log.size() + 1;
  return 0;
}
EXPORT int nvrtcGetProgramLog(void* program, char* to) {
  std::memcpy(to, of(program).log.c_str(), of(program).log.size() + 1);
  return 0;
}
