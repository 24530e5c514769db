// The web page, embedded at build time: tools/build/page.py joins src/server/page into one file.
// It uses only the public API, needs nothing from other hosts and runs no script but its own. Thread: any.
#pragma once

#include <string_view>

namespace millrace::server {

// The whole page, UTF-8.
std::string_view page_html();
// Its Content-Security-Policy.
std::string_view page_policy();

}  // namespace millrace::server
