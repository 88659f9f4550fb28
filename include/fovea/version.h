// SPDX-License-Identifier: Apache-2.0
// The version, stated once: CMake, the Python package and fovea::version() read it from here.
#pragma once

#define FOVEA_VERSION_MAJOR 0
#define FOVEA_VERSION_MINOR 1
#define FOVEA_VERSION_PATCH 0
#define FOVEA_VERSION_STRING "0.1.0"
