# SPDX-License-Identifier: Apache-2.0
# Installs the library, the public headers, the command, a CMake package (find_package(fovea) gives fovea::fovea) and
# fovea.pc. While the version is 0.x, a minor version may change the API, so only the same minor one satisfies.
include(CMakePackageConfigHelpers)

install(TARGETS fovea EXPORT fovea_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET fovea_cli)
  install(TARGETS fovea_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(fovea_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
install(EXPORT fovea_targets FILE fovea-targets.cmake NAMESPACE fovea:: DESTINATION ${fovea_cmake_dir})
configure_package_config_file(cmake/fovea-config.cmake.in fovea-config.cmake INSTALL_DESTINATION ${fovea_cmake_dir})
write_basic_package_version_file(fovea-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fovea-config.cmake ${PROJECT_BINARY_DIR}/fovea-config-version.cmake
        DESTINATION ${fovea_cmake_dir})

# fovea.pc finds its prefix from its own place, so an installed tree can be moved.
file(RELATIVE_PATH fovea_pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/fovea.pc.in fovea.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/fovea.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
