// The one translation unit that compiles Boost.Beast (separate-compilation mode).
#include <boost/beast/src.hpp>
