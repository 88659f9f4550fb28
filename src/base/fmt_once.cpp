// SPDX-License-Identifier: Apache-2.0
// The bodies of {fmt} 9, compiled once for the whole tree instead of in every file that formats (which takes more than
// half of the compiler's time), and not taken from a shared library, so that ours depends on none. Other versions of
// {fmt} are used header-only (cmake/FoveaFmt.cmake); then this file is empty.
#ifndef FMT_HEADER_ONLY
#include <fmt/format-inl.h>

// What the headers declare and leave to one translation unit: the linker names each one that is missing here.
template fmt::detail::dragonbox::decimal_fp<float> fmt::detail::dragonbox::to_decimal(float) noexcept;
template fmt::detail::dragonbox::decimal_fp<double> fmt::detail::dragonbox::to_decimal(double) noexcept;
template fmt::detail::locale_ref::locale_ref(const std::locale&);
template std::locale fmt::detail::locale_ref::get<std::locale>() const;
template fmt::detail::thousands_sep_result<char> fmt::detail::thousands_sep_impl(fmt::detail::locale_ref);
template char fmt::detail::decimal_point_impl(fmt::detail::locale_ref);
template void fmt::detail::buffer<char>::append(const char*, const char*);
template void fmt::detail::vformat_to(fmt::detail::buffer<char>&, fmt::string_view, fmt::format_args,
                                      fmt::detail::locale_ref);
#endif
