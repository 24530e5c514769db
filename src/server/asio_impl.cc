// The one translation unit that compiles Boost.Asio (separate-compilation mode).
#include <boost/asio/impl/src.hpp>
