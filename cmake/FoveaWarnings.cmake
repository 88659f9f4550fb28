# SPDX-License-Identifier: Apache-2.0
# Warnings are errors in our own files; sanitizers go everywhere.
# No -Wrestrict: g++ 12 reports assignments to std::string as overlapping copies (gcc.gnu.org/PR105651).
add_library(fovea_warnings INTERFACE)
target_compile_options(fovea_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-restrict>
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Werror>)
if(FOVEA_SANITIZE)
  add_compile_options(-fsanitize=${FOVEA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${FOVEA_SANITIZE})
endif()
