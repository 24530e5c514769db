// Where the core threw: "grammar_parser.cc:820". What it says besides may hold the text of a constraint or of an
// answer, and neither belongs into a log. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace millrace::grammar {

// what: of one of the core's exceptions, "[12:00:00] FOLDER/FILE:LINE: MESSAGE". Of others: "an exception".
std::string thrown_at(std::string_view what);

}  // namespace millrace::grammar
