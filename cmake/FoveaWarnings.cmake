# SPDX-License-Identifier: Apache-2.0
# Warnings are errors in our own files; sanitizers go everywhere.
# No -Wrestrict: g++ 12 reports assignments to std::string as overlapping copies (gcc.gnu.org/PR105651).
# Nor errors where headers come precompiled: g++ 12 warns of its own then.
add_library(fovea_warnings INTERFACE)
set(fovea_errors $<$<NOT:$<BOOL:${FOVEA_PRECOMPILE_HEADERS}>>:-Werror>)
target_compile_options(fovea_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers ${fovea_errors}>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra ${fovea_errors}>)
if(FOVEA_SANITIZE)
  # Little optimisation: at -O3 the checks of one file of unrolled loops cost g++ 12 more than a minute, at -O1 a quarter.
  add_compile_options(-fsanitize=${FOVEA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -O1 -g1)
  add_link_options(-fsanitize=${FOVEA_SANITIZE})
endif()
