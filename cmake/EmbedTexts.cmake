# SPDX-License-Identifier: Apache-2.0
# Turns source files into one C++ file of string literals, so that the library carries its kernels' text.
#   fovea_embed_texts(OUTPUT file.cpp NAMES name... FILES path...)   names are the include paths, in the files' order
# Run as a script (cmake -DOUTPUT=… -P) it does the writing, at build time, when a text has changed.
if(CMAKE_SCRIPT_MODE_FILE AND CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  string(REPLACE "|" ";" names "${NAMES}")
  string(REPLACE "|" ";" files "${FILES}")
  set(text "// Written by cmake/EmbedTexts.cmake.\n#include \"jit/texts.h\"\n\nnamespace fovea::jit {\nnamespace {\nconstexpr EmbeddedText kTexts[] = {\n")
  foreach(name path IN ZIP_LISTS names files)
    file(READ "${path}" content)
    string(APPEND text "{\"${name}\", R\"fovea_text(${content})fovea_text\"},\n")
  endforeach()
  string(APPEND text "};\n}  // namespace\n\nstd::span<const EmbeddedText> embedded_texts() { return kTexts; }\n}  // namespace fovea::jit\n")
  file(WRITE "${OUTPUT}" "${text}")
  return()
endif()

set(fovea_embed_texts_script "${CMAKE_CURRENT_LIST_FILE}")
function(fovea_embed_texts)
  cmake_parse_arguments(EMBED "" "OUTPUT" "NAMES;FILES" ${ARGN})
  string(REPLACE ";" "|" names "${EMBED_NAMES}")
  string(REPLACE ";" "|" files "${EMBED_FILES}")
  add_custom_command(OUTPUT "${EMBED_OUTPUT}"
    COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${EMBED_OUTPUT}" "-DNAMES=${names}" "-DFILES=${files}" -P "${fovea_embed_texts_script}"
    DEPENDS ${EMBED_FILES} "${fovea_embed_texts_script}"
    COMMENT "Embedding kernel texts" VERBATIM)
endfunction()
