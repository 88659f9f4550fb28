# SPDX-License-Identifier: Apache-2.0
# A hash of what a GPU run depends on: contract/, kernels/ and the GPU rooms of src/. The same number comes from
#   git ls-files contract kernels src/cuda src/jit src/attention src/matmul | LC_ALL=C sort | xargs sha256sum | sha256sum
#   cmake -P cmake/HashSources.cmake                       prints it
#   cmake -DOUTPUT=file.h -P cmake/HashSources.cmake       writes it as a header
get_filename_component(root "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(files "")
foreach(folder contract kernels src/cuda src/jit src/attention src/matmul)
  file(GLOB_RECURSE found RELATIVE "${root}" "${root}/${folder}/*.h" "${root}/${folder}/*.cuh" "${root}/${folder}/*.cpp")
  list(APPEND files ${found})
endforeach()
list(SORT files)
set(lines "")
foreach(path IN LISTS files)
  file(SHA256 "${root}/${path}" hash)
  string(APPEND lines "${hash}  ${path}\n")
endforeach()
string(SHA256 hash "${lines}")
if(OUTPUT)
  file(WRITE "${OUTPUT}" "#define FOVEA_GPU_SOURCES_SHA256 \"${hash}\"\n")
else()
  message("${hash}")
endif()
