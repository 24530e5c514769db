#include "app/build_info.h"

namespace millrace::app {

std::string_view build_version() { return MILLRACE_VERSION; }
std::string_view build_type() { return MILLRACE_BUILD_TYPE; }
std::string_view build_compiler() { return MILLRACE_COMPILER; }

}  // namespace millrace::app
