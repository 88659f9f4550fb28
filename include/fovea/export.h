/* SPDX-License-Identifier: Apache-2.0 */
/* FOVEA_API marks what the shared library shows to its users; everything else in it is hidden. Read by C and C++. */
#ifndef FOVEA_EXPORT_H
#define FOVEA_EXPORT_H

#if defined(__GNUC__)
#define FOVEA_API __attribute__((visibility("default")))
#else
#define FOVEA_API
#endif

#endif
