# SPDX-License-Identifier: Apache-2.0
# Warnings are errors in our own files; sanitizers go everywhere.
add_library(fovea_warnings INTERFACE)
target_compile_options(fovea_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror>
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Werror>)
if(FOVEA_SANITIZE)
  add_compile_options(-fsanitize=${FOVEA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${FOVEA_SANITIZE})
endif()
