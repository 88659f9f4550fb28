# SPDX-License-Identifier: Apache-2.0
# fovea_fmt: {fmt} without a shared library behind it. Debian 12's 9.1 is compiled once, in src/base/fmt_once.cpp; other
# versions, whose list of bodies differs, are used header-only.
find_package(fmt REQUIRED)
add_library(fovea_fmt INTERFACE)
if(fmt_VERSION VERSION_GREATER_EQUAL 9 AND fmt_VERSION VERSION_LESS 10)
  get_target_property(fovea_fmt_include fmt::fmt-header-only INTERFACE_INCLUDE_DIRECTORIES)
  target_include_directories(fovea_fmt SYSTEM INTERFACE ${fovea_fmt_include})
else()
  target_link_libraries(fovea_fmt INTERFACE fmt::fmt-header-only)
endif()
