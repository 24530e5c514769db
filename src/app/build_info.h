// What this binary is.
#pragma once

#include <string_view>

namespace millrace::app {

std::string_view build_version();   // "0.1.0", from CMakeLists.txt
std::string_view build_commit();    // "1a2b3c4d5e6f"; "unknown" without a repository
std::string_view build_type();      // "Release"
std::string_view build_compiler();  // "GNU 12.2.0"

}  // namespace millrace::app
