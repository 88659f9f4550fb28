// SPDX-License-Identifier: Apache-2.0
// The part of XLA's foreign function interface, version 0.x, that is read here: what a compiled JAX program hands to a
// function of another library. Order and sizes of the fields are XLA's (openxla.org/xla/custom_call); fields that were
// added at the ends of these records in later versions are left out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fovea::python::xla {

struct Extension {
  std::size_t struct_size;
  std::int32_t type;
  Extension* next;
};
constexpr std::int32_t kMetadataExtension = 1;

struct Version {
  std::size_t struct_size;
  Extension* extensions;
  int major, minor;
};

/// Asked for once, when a function is registered.
struct Metadata {
  std::size_t struct_size;
  Version version;
  std::uint32_t traits;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct Failure;
struct FailureArgs {
  std::size_t struct_size;
  Extension* extensions;
  const char* message;
  std::int32_t code;
};
constexpr std::int32_t kInvalidArgument = 3, kUnimplemented = 12, kInternal = 13;

struct FailureTextArgs {
  std::size_t struct_size;
  Extension* extensions;
  Failure* failure;
  const char* message;
  std::int32_t code;
};
struct FailureEndArgs {
  std::size_t struct_size;
  Extension* extensions;
  Failure* failure;
};
struct StreamArgs {
  std::size_t struct_size;
  Extension* extensions;
  void* context;
  void* stream;
};
struct DeviceArgs {
  std::size_t struct_size;
  Extension* extensions;
  void* context;
  std::int32_t device;
};

/// struct_size tells whether the last field, which came later than the others, is there.
struct Api {
  std::size_t struct_size;
  Extension* extensions;
  Version version;
  const void* internal;
  Failure* (*create_failure)(FailureArgs*);
  void (*text_of_failure)(FailureTextArgs*);
  void (*end_failure)(FailureEndArgs*);
  void* register_handler;
  Failure* (*stream)(StreamArgs*);
  void* others[11];  // types, states, memory, threads, futures
  void* run;
  Failure* (*device)(DeviceArgs*);
};

enum : std::int32_t { kS32 = 4, kS64 = 5, kF16 = 10, kF32 = 11, kF64 = 12, kBF16 = 16, kE4M3 = 20 };

/// Row-major.
struct Buffer {
  std::size_t struct_size;
  Extension* extensions;
  std::int32_t dtype;
  void* data;
  std::int64_t rank;
  std::int64_t* dims;
};

struct Buffers {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t size;
  std::int32_t* types;
  Buffer** values;
};

/// The value of an attribute that is a string, and a name.
struct Text {
  const char* data;
  std::size_t size;
};
/// The value of an attribute that is an array.
struct Numbers {
  std::int32_t dtype;
  std::size_t size;
  const void* data;
};
constexpr std::int32_t kNumbersAttribute = 1, kTextAttribute = 4;

struct Attributes {
  std::size_t struct_size;
  Extension* extensions;
  std::int64_t size;
  std::int32_t* types;
  Text** names;
  void** values;
};

constexpr std::int32_t kExecute = 3;

struct CallFrame {
  std::size_t struct_size;
  Extension* extensions;
  const Api* api;
  void* context;
  std::int32_t stage;
  Buffers args;
  Buffers results;
  Attributes attributes;
};

}  // namespace fovea::python::xla
