// fmt's engine behind fmt::format_to, compiled once so that the other files get along with fmt/core.h. libfmt exports
// it too, but g++, which built libfmt, and clang 14 name this template differently: programs built by clang find it
// only here.
#include <fmt/format.h>

template void fmt::detail::vformat_to<char>(fmt::detail::buffer<char>&, fmt::string_view,
                                            fmt::basic_format_args<fmt::buffer_context<char>>, fmt::detail::locale_ref);
