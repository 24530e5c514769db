// Names that come from model files: what may be a key or tensor name, and how a bad one is shown in a message.
// Thread: any (pure functions).
#pragma once

#include <string>
#include <string_view>

namespace millrace::weights {

// Valid UTF-8 without control characters (so no NUL and no newline).
bool is_clean_name(std::string_view name);

// For messages: at most 64 bytes, everything outside printable ASCII as \xNN unless the text is clean UTF-8.
std::string show_name(std::string_view name);

}  // namespace millrace::weights
