// SPDX-License-Identifier: Apache-2.0
#include "jit/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace fovea::jit {

/// Entry points, with NVRTC's own names and signatures (docs.nvidia.com/cuda/nvrtc).
struct Nvrtc::Api {
  using Program = void*;
  const char* (*nvrtcGetErrorString)(int);
  int (*nvrtcVersion)(int*, int*);
  int (*nvrtcGetNumSupportedArchs)(int*);
  int (*nvrtcGetSupportedArchs)(int*);
  int (*nvrtcCreateProgram)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*nvrtcDestroyProgram)(Program*);
  int (*nvrtcCompileProgram)(Program, int, const char* const*);
  int (*nvrtcGetCUBINSize)(Program, std::size_t*);
  int (*nvrtcGetCUBIN)(Program, char*);
  int (*nvrtcGetProgramLogSize)(Program, std::size_t*);
  int (*nvrtcGetProgramLog)(Program, char*);
};

namespace {

constexpr const char* kWayOut =
    "install a CUDA toolkit 12.4 or newer, or `pip install nvidia-cuda-nvrtc`, or name the file in FOVEA_NVRTC";
constexpr int kOldestMajor = 12;
constexpr int kOldestMinor = 4;  // sm_90a code of good quality, C++20, nvrtcGetSupportedArchs with letters accepted

template <typename Function>
bool resolve(void* handle, Function*& slot, const char* name) {
  slot = reinterpret_cast<Function*>(dlsym(handle, name));
  return slot != nullptr;
}

bool resolve_all(void* handle, Nvrtc::Api& api) {
  return resolve(handle, api.nvrtcGetErrorString, "nvrtcGetErrorString") &&
         resolve(handle, api.nvrtcVersion, "nvrtcVersion") &&
         resolve(handle, api.nvrtcGetNumSupportedArchs, "nvrtcGetNumSupportedArchs") &&
         resolve(handle, api.nvrtcGetSupportedArchs, "nvrtcGetSupportedArchs") &&
         resolve(handle, api.nvrtcCreateProgram, "nvrtcCreateProgram") &&
         resolve(handle, api.nvrtcDestroyProgram, "nvrtcDestroyProgram") &&
         resolve(handle, api.nvrtcCompileProgram, "nvrtcCompileProgram") &&
         resolve(handle, api.nvrtcGetCUBINSize, "nvrtcGetCUBINSize") &&
         resolve(handle, api.nvrtcGetCUBIN, "nvrtcGetCUBIN") &&
         resolve(handle, api.nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize") &&
         resolve(handle, api.nvrtcGetProgramLog, "nvrtcGetProgramLog");
}

/// NVRTC opens its builtins by bare name when it first compiles, and the wheel's library has no run path to its own
/// folder: a copy that is loaded already is found by that name.
void preload_builtins(const std::string& library, int major, int minor) {
  const std::size_t slash = library.rfind('/');
  if (slash == std::string::npos) return;
  const std::string path = fmt::format("{}/libnvrtc-builtins.so.{}.{}", library.substr(0, slash), major, minor);
  dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);  // if it is missing, the compile's own log says so
}

/// The file that a name was found in: the loader's path is not ours to search.
std::string file_of(const Nvrtc::Api& api, const std::string& name) {
  Dl_info info = {};
  return dladdr(reinterpret_cast<const void*>(api.nvrtcVersion), &info) != 0 && info.dli_fname ? info.dli_fname : name;
}

std::vector<int> query_architectures(const Nvrtc::Api& api) {
  int n = 0;
  if (api.nvrtcGetNumSupportedArchs(&n) != 0 || n <= 0) return {};
  std::vector<int> all(static_cast<std::size_t>(n));
  api.nvrtcGetSupportedArchs(all.data());
  return all;
}

}  // namespace

Nvrtc Nvrtc::open(const NvrtcSearch& search) {
  Nvrtc result;
  std::string tried;
  std::string too_old;
  for (const std::string& library : nvrtc_candidates(search)) {
    tried += (tried.empty() ? "" : ", ") + library;
    void* handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (!handle) continue;
    auto api = std::make_shared<Api>();
    int major = 0, minor = 0;
    if (!resolve_all(handle, *api) || api->nvrtcVersion(&major, &minor) != 0 ||
        std::pair(major, minor) < std::pair(kOldestMajor, kOldestMinor)) {
      too_old = fmt::format("{} is version {}.{}", library, major, minor);
      dlclose(handle);
      continue;
    }
    result.library_ = file_of(*api, library);
    preload_builtins(result.library_, major, minor);
    result.major_ = major;
    result.minor_ = minor;
    result.architectures_ = query_architectures(*api);
    result.api_ = std::move(api);
    return result;
  }
  result.absence_ = too_old.empty() ? fmt::format("NVRTC was not found (looked for {}); {}", tried, kWayOut)
                                    : fmt::format("NVRTC is too old: {}, Fovea needs {}.{}; {}", too_old, kOldestMajor,
                                                  kOldestMinor, kWayOut);
  return result;
}

bool Nvrtc::supports(std::string_view architecture) const {
  int number = 0;
  const std::size_t underscore = architecture.find('_');
  if (underscore == std::string_view::npos) return false;
  std::from_chars(architecture.data() + underscore + 1, architecture.data() + architecture.size(), number);
  return std::find(architectures_.begin(), architectures_.end(), number) != architectures_.end();
}

std::string Nvrtc::supported_architectures() const { return fmt::format("{}", fmt::join(architectures_, ", ")); }

CompileOutput Nvrtc::compile(const CompileInput& input) const {
  std::vector<std::string> names, texts;  // NVRTC wants terminated strings
  for (const auto& [name, text] : input.headers) {
    names.emplace_back(name);
    texts.emplace_back(text);
  }
  std::vector<const char*> name_pointers, text_pointers, option_pointers;
  for (const std::string& name : names) name_pointers.push_back(name.c_str());
  for (const std::string& text : texts) text_pointers.push_back(text.c_str());
  for (const std::string& option : input.options) option_pointers.push_back(option.c_str());
  Api::Program program = nullptr;
  const int created =
      api_->nvrtcCreateProgram(&program, input.source.c_str(), input.file_name.c_str(), static_cast<int>(names.size()),
                               text_pointers.data(), name_pointers.data());
  CompileOutput output;
  if (created != 0) {
    output.log = fmt::format("nvrtcCreateProgram: {}", api_->nvrtcGetErrorString(created));
    return output;
  }
  const int compiled =
      api_->nvrtcCompileProgram(program, static_cast<int>(option_pointers.size()), option_pointers.data());
  std::size_t size = 0;
  if (api_->nvrtcGetProgramLogSize(program, &size) == 0 && size > 1) {
    output.log.resize(size);
    api_->nvrtcGetProgramLog(program, output.log.data());
    output.log.resize(size - 1);
  }
  if (compiled != 0) {
    output.log = fmt::format("nvrtcCompileProgram: {}\n{}", api_->nvrtcGetErrorString(compiled), output.log);
  } else if (api_->nvrtcGetCUBINSize(program, &size) == 0 && size > 0) {
    output.cubin.resize(size);
    output.ok = api_->nvrtcGetCUBIN(program, reinterpret_cast<char*>(output.cubin.data())) == 0;
  }
  api_->nvrtcDestroyProgram(&program);
  return output;
}

}  // namespace fovea::jit
